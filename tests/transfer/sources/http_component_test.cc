// HTTP ranges against a server that lies in every way, and against nginx. Rows: Ns of
// the data plane, Vmware of source-vmware.md 10.
#include <gtest/gtest.h>

#include <atomic>
#include <filesystem>
#include <thread>

#include <nlohmann/json.hpp>

#include "common/catalogue.h"
#include "common/fd.h"
#include "tests/support/places.h"
#include "tests/transfer/support/deadline.h"
#include "tests/transfer/support/source_peers.h"
#include "transfer/sources/http.h"

namespace vmferry {
namespace {

using namespace std::chrono_literals;
using testing::Bytes;
using testing::has_program;
using testing::LyingServer;
using testing::patterned;
using testing::read_all;
using testing::Workspace;

HttpSource::Options quick() {
  HttpSource::Options options;
  options.patience.backoff = {.first = 1ms, .cap = 4ms};
  options.patience.connect_timeout = 2s;
  return options;
}

DiskEndpoint endpoint_of(const std::string& url) {
  DiskEndpoint endpoint;
  endpoint.kind = SourceKind::HttpRange;
  endpoint.url = url;
  endpoint.request_bytes = 1u << 20;
  return endpoint;
}

Result<std::unique_ptr<HttpSource>> open(const DiskEndpoint& endpoint, RenewEndpoint renew = {}) {
  return HttpSource::open(endpoint, renew, quick(), Logger(), {});
}

class HttpSourceComponentTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!has_program("python3")) GTEST_SKIP() << "needs python3";
  }
  Workspace workspace_;
  const Bytes disk_ = patterned((5u << 20) + 512);
};

TEST_F(HttpSourceComponentTest, HealsWhatPassesAndGivesTheSameBytes) {
  const LyingServer server(workspace_, disk_);
  for (const char* mode : {"ok", "head405", "truncate", "shiftedonce", "s500twice", "s503twice",
                           "s400twice", "idleclose", "cut100k", "truncate+s503twice"}) {
    SCOPED_TRACE(mode);  // truncate is row 32
    auto source = open(endpoint_of(server.file_url(mode)));
    ASSERT_TRUE(source.ok()) << source.error().message();
    EXPECT_EQ((*source)->size_bytes(), disk_.size());
    auto read = read_all(**source);
    ASSERT_TRUE(read.ok()) << read.error().message();
    EXPECT_TRUE(*read == disk_);
  }
}

TEST_F(HttpSourceComponentTest, Ns31LiesAreErrorsAndNeverData) {
  const LyingServer server(workspace_, disk_);
  struct Case {
    const char* mode;
    ErrorKind kind;
    std::string_view code;
  };
  const Case cases[] = {
      {"shifted", ErrorKind::DataLoss, code::kSourceChanged},
      {"shorter", ErrorKind::DataLoss, code::kSourceProtocol},
      {"grown", ErrorKind::DataLoss, code::kSourceChanged},
      {"nocontentrange", ErrorKind::DataLoss, code::kSourceProtocol},
      {"garbagerange", ErrorKind::DataLoss, code::kSourceProtocol},
      {"gzip", ErrorKind::DataLoss, code::kSourceProtocol},
      {"wronglength", ErrorKind::DataLoss, code::kSourceProtocol},
      {"toolong", ErrorKind::DataLoss, code::kSourceProtocol},
      {"tworanges", ErrorKind::DataLoss, code::kSourceProtocol},
      {"twolengths", ErrorKind::DataLoss, code::kSourceProtocol},
      {"chunkedlong", ErrorKind::DataLoss, code::kSourceProtocol},
      {"etag", ErrorKind::DataLoss, code::kSourceChanged},
      {"etag+weaketag", ErrorKind::DataLoss, code::kSourceChanged},
      {"remodified", ErrorKind::DataLoss, code::kSourceChanged},
      {"weaketag+remodified", ErrorKind::DataLoss, code::kSourceChanged},
      {"headsize", ErrorKind::DataLoss, code::kSourceChanged},
      {"r416", ErrorKind::DataLoss, code::kSourceChanged},
      {"s500", ErrorKind::Unavailable, code::kSourceRead},
      {"alwaystruncate", ErrorKind::Unavailable, code::kSourceRead},
      {"s403", ErrorKind::PermissionDenied, code::kSourceAuth},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.mode);
    auto source = open(endpoint_of(server.file_url(c.mode)));
    ASSERT_TRUE(source.ok()) << source.error().message();
    auto read = read_all(**source, 1);
    ASSERT_FALSE(read.ok());
    EXPECT_EQ(read.error().kind(), c.kind) << read.error().message();
    EXPECT_EQ(read.error().code(), c.code) << read.error().message();
  }
}

TEST_F(HttpSourceComponentTest, Vsrc31ServerWithoutRangesIsReadAsOneStream) {
  const LyingServer server(workspace_, disk_);
  for (const auto& [mode, heals] :
       {std::pair{"ignorerange", false}, std::pair{"ignorerange+head405", false},
        std::pair{"ignorerange+truncate", true}, std::pair{"ignorerange+anonymous+truncate", true},
        std::pair{"ignorerange+s503twice", true}}) {
    SCOPED_TRACE(mode);
    auto source = open(endpoint_of(server.file_url(mode)));
    ASSERT_TRUE(source.ok()) << source.error().message();
    EXPECT_TRUE((*source)->hints().sequential);
    const auto before = nlohmann::json::parse(server.stats())["requests"].size();
    auto read = read_all(**source, 1);
    ASSERT_TRUE(read.ok()) << read.error().message();
    EXPECT_TRUE(*read == disk_);
    const auto after = nlohmann::json::parse(server.stats())["requests"].size();
    EXPECT_EQ((*source)->counters().retries > 0, heals);
    EXPECT_LE(after - before, heals ? 3u : 1u) << "not a request per range";
    Bytes first(512);
    EXPECT_EQ((*source)->read(0, first, {}).error().kind(), ErrorKind::InvalidArgument);
  }
  for (const char* mode :
       {"ignorerange+grown", "ignorerange+etag", "ignorerange+gzip", "ignorerange+remodified",
        "ignorerange+alwaystruncate", "ignorerange+s403"}) {
    SCOPED_TRACE(mode);
    auto source = open(endpoint_of(server.file_url(mode)));
    ASSERT_TRUE(source.ok()) << source.error().message();
    EXPECT_FALSE(read_all(**source, 1).ok());
  }
}

TEST_F(HttpSourceComponentTest, Vsrc31AStreamIsSkippedForwardAndCancelledAtOnce) {
  const LyingServer server(workspace_, disk_);
  auto source = open(endpoint_of(server.file_url("ignorerange")));
  ASSERT_TRUE(source.ok());
  Bytes piece(1000);
  ASSERT_TRUE((*source)->read(3'000'000, piece, {}).ok());
  EXPECT_TRUE(std::ranges::equal(piece, std::span(disk_).subspan(3'000'000, 1000)));
  auto hanging = open(endpoint_of(server.file_url("ignorerange+hang")));
  ASSERT_TRUE(hanging.ok());
  std::stop_source stop;
  const std::jthread canceller([&] {
    std::this_thread::sleep_for(200ms);
    stop.request_stop();
  });
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_EQ((*hanging)->read(0, piece, stop.get_token()).error().kind(), ErrorKind::Canceled);
  hanging->reset();
  EXPECT_LT(std::chrono::steady_clock::now() - begin, 2s);
}

// Nothing in its headers tells that the stream that was begun again is another file's.
TEST_F(HttpSourceComponentTest, Vsrc31AStreamThatGoesOnWithAnotherFileIsNoticed) {
  const LyingServer server(workspace_, disk_);
  const auto source =
      open(endpoint_of(server.file_url("ignorerange+anonymous+truncate+otheragain")));
  ASSERT_TRUE(source.ok()) << source.error().message();
  const std::size_t broken_at = disk_.size() / 2;
  Bytes before(broken_at);
  ASSERT_TRUE((*source)->read(0, before, {}).ok());
  EXPECT_TRUE(std::equal(before.begin(), before.end(), disk_.begin()));
  Bytes next(512);
  const Result<void> read = (*source)->read(broken_at, next, {});
  ASSERT_FALSE(read.ok());
  EXPECT_EQ(read.error().kind(), ErrorKind::DataLoss);
  EXPECT_EQ(read.error().code(), code::kSourceChanged) << read.error().message();
}

TEST_F(HttpSourceComponentTest, AFirstByteWithoutAnEndIsNotWaitedFor) {
  const LyingServer server(workspace_, disk_);
  for (const char* mode : {"endlessbyte", "endlessbyte+head405"}) {
    SCOPED_TRACE(mode);
    const testing::Deadline deadline(std::chrono::seconds(60), mode);
    auto source = open(endpoint_of(server.file_url(mode)));
    ASSERT_TRUE(source.ok()) << source.error().message();
    EXPECT_FALSE((*source)->hints().sequential);
    EXPECT_LT((*source)->counters().wire_bytes, 1u << 20);
    EXPECT_TRUE(*read_all(**source) == disk_);
  }
}

TEST_F(HttpSourceComponentTest, MissingFileIsToldWhenOpened) {
  const LyingServer server(workspace_, disk_);
  auto source = open(endpoint_of(server.file_url("missing")));
  ASSERT_FALSE(source.ok());
  EXPECT_EQ(source.error().code(), code::kDiskMissing);
}

TEST_F(HttpSourceComponentTest, Ns32OnlyMissingBytesAreAskedForAgain) {
  const LyingServer server(workspace_, disk_);
  auto source = open(endpoint_of(server.file_url("truncate")));
  ASSERT_TRUE(source.ok());
  Bytes piece(1u << 20);
  ASSERT_TRUE((*source)->read(0, piece, {}).ok());
  const auto stats = nlohmann::json::parse(server.stats());
  const auto& requests = stats["requests"];
  // 0 is the HEAD, 1 asks for one byte: whether there are ranges.
  EXPECT_EQ(requests[2]["range"], "bytes=0-1048575");
  EXPECT_EQ(requests[3]["range"], "bytes=524288-1048575");
}

TEST_F(HttpSourceComponentTest, Vsrc32ExpiredCookieIsRenewedOnceForAllWorkers) {
  const LyingServer server(workspace_, disk_);
  std::atomic<int> renewals{0};
  DiskEndpoint endpoint = endpoint_of(server.file_url("cookie"));
  endpoint.cookie = SecretString("session=new");
  const RenewEndpoint renew = [&](const Error&, std::stop_token) -> Result<DiskEndpoint> {
    ++renewals;
    std::this_thread::sleep_for(50ms);
    return endpoint;
  };
  DiskEndpoint stale = endpoint;
  stale.cookie = SecretString("session=old");
  auto source = open(stale, renew);
  ASSERT_TRUE(source.ok()) << source.error().message();
  EXPECT_TRUE(*read_all(**source, 4) == disk_);
  EXPECT_EQ(renewals, 1);

  const RenewEndpoint useless = [&](const Error&, std::stop_token) -> Result<DiskEndpoint> {
    ++renewals;
    return stale;
  };
  auto refused = open(stale, useless);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().kind(), ErrorKind::PermissionDenied);
  EXPECT_EQ(renewals, 2);
}

TEST_F(HttpSourceComponentTest, RenewedEndpointOfAnotherDiskIsRefused) {
  const LyingServer server(workspace_, disk_);
  DiskEndpoint endpoint = endpoint_of(server.file_url("cookie"));
  auto source = open(endpoint, [&](const Error&, std::stop_token) -> Result<DiskEndpoint> {
    DiskEndpoint other = endpoint;
    other.cookie = SecretString("session=new");
    other.identity = {{"disk", "another"}};
    return other;
  });
  ASSERT_FALSE(source.ok());
  EXPECT_EQ(source.error().code(), code::kSourceChanged);
}

TEST_F(HttpSourceComponentTest, NeverMoreConnectionsThanAllowed) {
  const LyingServer server(workspace_, disk_);
  DiskEndpoint endpoint = endpoint_of(server.file_url("ok"));
  endpoint.max_connections = 2;
  auto source = open(endpoint);
  ASSERT_TRUE(source.ok());
  EXPECT_EQ((*source)->hints().workers, 2);
  EXPECT_TRUE(*read_all(**source, 8) == disk_);
  const auto stats = nlohmann::json::parse(server.stats());
  EXPECT_LE(stats["most_connections"].get<int>(), 3);  // and the one that asks for the figures
}

TEST_F(HttpSourceComponentTest, IdentityHoldsWhatTellsAChangedFile) {
  const LyingServer server(workspace_, disk_);
  auto source = open(endpoint_of(server.file_url("ok")));
  ASSERT_TRUE(source.ok());
  const auto identity = (*source)->identity();
  EXPECT_TRUE(
      std::ranges::count(identity, std::pair<std::string, std::string>("etag", "\"one\"")) == 1);
}

TEST_F(HttpSourceComponentTest, IdentityTellsDatastoresApartButKeepsNoSignature) {
  const LyingServer server(workspace_, disk_);
  const auto identity_of = [&](const std::string& query) {
    auto source = open(endpoint_of(server.file_url("ok") + query));
    EXPECT_TRUE(source.ok());
    return (*source)->identity();
  };
  const auto one = identity_of("?dcPath=DC&dsName=one&signature=a");
  EXPECT_NE(one, identity_of("?dcPath=DC&dsName=two&signature=a"));
  EXPECT_EQ(one, identity_of("?dcPath=DC&dsName=one&signature=b"));
}

TEST_F(HttpSourceComponentTest, Issue3CancelReturnsWithinTwoSecondsFromAServerThatHangs) {
  const LyingServer server(workspace_, disk_);
  auto source = open(endpoint_of(server.file_url("hang")));
  ASSERT_TRUE(source.ok());
  std::stop_source stop;
  std::jthread stopper([&] {
    std::this_thread::sleep_for(200ms);
    stop.request_stop();
  });
  const auto start = std::chrono::steady_clock::now();
  auto read = read_all(**source, 8, 1u << 20, stop.get_token());
  ASSERT_FALSE(read.ok());
  EXPECT_EQ(read.error().kind(), ErrorKind::Canceled);
  EXPECT_LT(std::chrono::steady_clock::now() - start, 2s);
}

// Without a Content-Length the library cannot tell that a body is too short: we count.
TEST_F(HttpSourceComponentTest, Nr11AShortBodyWithoutALengthIsNoticedAndReadOn) {
  const LyingServer server(workspace_, disk_);
  for (const char* mode : {"closeshort", "closewhole"}) {
    SCOPED_TRACE(mode);
    auto source = open(endpoint_of(server.file_url(mode)));
    ASSERT_TRUE(source.ok()) << source.error().message();
    Bytes piece(1u << 20);  // each time half of what is left
    ASSERT_TRUE((*source)->read(1'000'000, piece, {}).ok());
    EXPECT_TRUE(std::ranges::equal(piece, std::span(disk_).subspan(1'000'000, piece.size())));
    EXPECT_EQ((*source)->counters().retries > 0, std::string(mode) == "closeshort");
  }
}

TEST_F(HttpSourceComponentTest, Ns33ProxyOfTheEnvironmentIsIgnored) {
  const LyingServer server(workspace_, disk_);
  ::setenv("http_proxy", "http://127.0.0.1:1", 1);
  auto source = open(endpoint_of(server.file_url("ok")));
  ASSERT_TRUE(source.ok()) << source.error().message();
  EXPECT_TRUE(*read_all(**source) == disk_);
  ::unsetenv("http_proxy");
}

TEST_F(HttpSourceComponentTest, FallbackUrlIsUsedWhenTheFirstCannotBeReached) {
  const LyingServer server(workspace_, disk_);
  DiskEndpoint endpoint =
      endpoint_of("http://127.0.0.1:" + std::to_string(testing::free_tcp_port()) + "/disk");
  endpoint.fallback_url = server.file_url("ok");
  auto source = open(endpoint);
  ASSERT_TRUE(source.ok()) << source.error().message();
  EXPECT_TRUE(*read_all(**source) == disk_);
}

TEST_F(HttpSourceComponentTest, Vsrc27And30FlatVmdkIsReadThroughItsDescriptor) {
  std::filesystem::create_directory(workspace_.path("vm"));
  const Bytes first = patterned(1u << 20, 1);
  const Bytes second = patterned((1u << 20) + 1024, 2);
  workspace_.write("vm/my disk-f001.vmdk", first);
  workspace_.write("vm/my disk-f002.vmdk", second);
  workspace_.write(
      "vm/disk.vmdk",
      std::string("# Disk DescriptorFile\nversion=1\nCID=0badcafe\nparentCID=ffffffff\n"
                  "createType=\"twoGbMaxExtentFlat\"\nRW 2048 FLAT \"my disk-f001.vmdk\" 0\n"
                  "RW 100 ZERO\nRW 2050 FLAT \"my disk-f002.vmdk\" 0\n"));
  const LyingServer server(workspace_, workspace_.path("vm"));
  auto source = open(endpoint_of(server.file_url("ok", "disk.vmdk")));
  ASSERT_TRUE(source.ok()) << source.error().message();
  Bytes expected = first;
  expected.resize(expected.size() + 51200, std::byte{0});
  expected.insert(expected.end(), second.begin(), second.end());
  EXPECT_EQ((*source)->size_bytes(), expected.size());
  EXPECT_TRUE((*source)->hints().has_extents);
  auto read = read_all(**source);
  ASSERT_TRUE(read.ok()) << read.error().message();
  EXPECT_TRUE(*read == expected);
  EXPECT_EQ(testing::all_extents(**source)->at(1).allocation, Allocation::Zero);
}

TEST_F(HttpSourceComponentTest, Vsrc33FlatFileOfAnotherSizeIsRefused) {
  std::filesystem::create_directory(workspace_.path("vm"));
  workspace_.write("vm/a-flat.vmdk", patterned(4096));
  workspace_.write("vm/a.vmdk",
                   std::string("version=1\nparentCID=ffffffff\nRW 9 VMFS \"a-flat.vmdk\"\n"));
  const LyingServer server(workspace_, workspace_.path("vm"));
  auto source = open(endpoint_of(server.file_url("ok", "a.vmdk")));
  ASSERT_FALSE(source.ok());
  EXPECT_EQ(source.error().code(), code::kSourceChanged);
  auto flat = open(endpoint_of(server.file_url("ok", "a-flat.vmdk")));
  ASSERT_TRUE(flat.ok()) << flat.error().message();
}

TEST_F(HttpSourceComponentTest, NginxOverTlsWithAGivenAuthority) {
  if (!has_program("nginx")) GTEST_SKIP() << "needs nginx";
  const std::string pki = workspace_.path("pki");
  ASSERT_EQ(testing::run({testing::source_dir() + "/tests/support/pki.sh", pki, "server"}), 0);
  workspace_.write("disk.img", disk_);
  ASSERT_EQ(testing::run({"chmod", "755", workspace_.path("")}), 0);
  const int port = testing::free_tcp_port();
  const std::string root = workspace_.path("");
  const std::string config = workspace_.write(
      "nginx.conf", "daemon off; master_process off; worker_processes 1; pid " + root +
                        "nginx.pid;\nerror_log stderr;\n"
                        "events { worker_connections 64; }\nhttp { access_log off; sendfile on; "
                        "client_body_temp_path " +
                        root + "t1; proxy_temp_path " + root + "t2; fastcgi_temp_path " + root +
                        "t3; uwsgi_temp_path " + root + "t4; scgi_temp_path " + root +
                        "t5;\nserver { listen 127.0.0.1:" + std::to_string(port) +
                        " ssl; ssl_certificate " + pki + "/server.pem; ssl_certificate_key " + pki +
                        "/server.key; root " + root + "; } }\n");
  testing::Peer server({"/usr/sbin/nginx", "-c", config, "-p", root});
  ASSERT_TRUE(testing::wait_for_port(port)) << server.stderr_text();
  DiskEndpoint endpoint = endpoint_of("https://localhost:" + std::to_string(port) + "/disk.img");
  endpoint.trust.ca_pem = *read_file(pki + "/ca.pem");
  auto source = open(endpoint);
  ASSERT_TRUE(source.ok()) << source.error().message();
  EXPECT_TRUE(*read_all(**source, 4, 2u << 20) == disk_);

  endpoint.trust = {};
  auto stranger = open(endpoint);
  ASSERT_FALSE(stranger.ok());
  EXPECT_EQ(stranger.error().code(), code::kSourceTls);
}

}  // namespace
}  // namespace vmferry
