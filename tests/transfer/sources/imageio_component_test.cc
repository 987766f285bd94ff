// The imageio source against a server that speaks its protocol. SRC-n is row n of
// source-ovirt.md 8.
#include <fmt/ranges.h>
#include <gtest/gtest.h>
#include <openssl/sha.h>

#include <atomic>
#include <thread>

#include <nlohmann/json.hpp>

#include "common/catalogue.h"
#include "tests/transfer/support/source_peers.h"
#include "transfer/sources/imageio.h"

namespace vmferry {
namespace {

using namespace std::chrono_literals;
using testing::Bytes;
using testing::LyingServer;
using testing::patterned;
using testing::read_all;
using testing::Workspace;

ImageioSource::Options quick() {
  ImageioSource::Options options;
  options.patience.backoff = {.first = 1ms, .cap = 4ms};
  options.patience.connect_timeout = 2s;
  return options;
}

DiskEndpoint endpoint_of(const std::string& url, std::uint64_t size = 0) {
  DiskEndpoint endpoint;
  endpoint.kind = SourceKind::Imageio;
  endpoint.url = url;
  endpoint.size_bytes = size;
  endpoint.max_connections = 8;
  return endpoint;
}

Result<std::unique_ptr<ImageioSource>> open(const DiskEndpoint& endpoint, RenewEndpoint renew = {},
                                            ImageioSource::Options options = quick()) {
  return ImageioSource::open(endpoint, renew, options, Logger(), {});
}

std::string leaf_root(const Bytes& disk) {
  std::string leaves;
  for (std::size_t at = 0; at < disk.size(); at += 1u << 20) {
    unsigned char digest[SHA256_DIGEST_LENGTH];
    SHA256(reinterpret_cast<const unsigned char*>(disk.data()) + at,
           std::min<std::size_t>(1u << 20, disk.size() - at), digest);
    leaves.append(reinterpret_cast<const char*>(digest), sizeof(digest));
  }
  unsigned char root[SHA256_DIGEST_LENGTH];
  SHA256(reinterpret_cast<const unsigned char*>(leaves.data()), leaves.size(), root);
  return fmt::format("{:02x}", fmt::join(root, ""));
}

class ImageioSourceComponentTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!testing::has_program("python3")) GTEST_SKIP() << "needs python3";
  }
  int requests_of(const LyingServer& server, const std::string& method,
                  const std::string& part = "") {
    int count = 0;
    const auto stats = nlohmann::json::parse(server.stats());
    for (const auto& request : stats["requests"]) {
      count += request["method"] == method &&
               request["path"].get<std::string>().find(part) != std::string::npos;
    }
    return count;
  }
  Workspace workspace_;
  const Bytes disk_ = patterned((6u << 20) + 512, 5, 8);  // not a multiple of 4096
};

TEST_F(ImageioSourceComponentTest, ReadsDataAndTellsZerosToTheLastOddSector_Src27) {
  const LyingServer server(workspace_, disk_);
  auto source = open(endpoint_of(server.image_url("ok")));
  ASSERT_TRUE(source.ok()) << source.error().message();
  EXPECT_EQ((*source)->size_bytes(), disk_.size());
  EXPECT_EQ((*source)->hints().workers, 8);
  EXPECT_TRUE(*read_all(**source, 8) == disk_);
  EXPECT_EQ(testing::all_extents(**source)->back().range.end(), disk_.size());
}

TEST_F(ImageioSourceComponentTest, OldServersAreReadWholeOverOneConnection_Src12And13) {
  for (const char* mode : {"options405", "options204", "optionstext", "nomaxreaders"}) {
    SCOPED_TRACE(mode);
    const Workspace workspace;
    const LyingServer server(workspace, disk_);
    auto source = open(endpoint_of(server.image_url(mode)));
    ASSERT_TRUE(source.ok()) << source.error().message();
    EXPECT_EQ((*source)->hints().workers, 1);
    EXPECT_TRUE(*read_all(**source, 8) == disk_);
    const auto stats = nlohmann::json::parse(server.stats());
    EXPECT_LE(stats["most_connections"].get<int>(), 2);  // ours, and the one that asks for figures
  }
}

TEST_F(ImageioSourceComponentTest, NeverMoreConnectionsThanReaders_Src14) {
  const LyingServer server(workspace_, disk_);
  auto source = open(endpoint_of(server.image_url("readers2")));
  ASSERT_TRUE(source.ok());
  EXPECT_EQ((*source)->hints().workers, 2);
  EXPECT_TRUE(*read_all(**source, 8) == disk_);
  const auto stats = nlohmann::json::parse(server.stats());
  EXPECT_LE(stats["most_connections"].get<int>(), 3);
}

TEST_F(ImageioSourceComponentTest, WrongExtentsAreIgnoredAndAllIsRead_Src15) {
  const LyingServer server(workspace_, disk_);
  for (const char* mode : {"gap", "overlap", "shortend"}) {
    for (const std::uint64_t told : {std::uint64_t{0}, std::uint64_t{disk_.size()}}) {
      SCOPED_TRACE(fmt::format("{}, size {}", mode, told));
      auto source = open(endpoint_of(server.image_url(mode), told));
      ASSERT_TRUE(source.ok()) << source.error().message();
      EXPECT_FALSE((*source)->hints().has_extents);
      EXPECT_EQ((*source)->size_bytes(), disk_.size());
      const auto read = read_all(**source);
      ASSERT_TRUE(read.ok()) << read.error().message();
      EXPECT_TRUE(*read == disk_);
    }
  }
}

// Nobody told the size, and there is not one byte of data whose Content-Range would.
TEST_F(ImageioSourceComponentTest, AListThatEndsEarlyDoesNotShortenAnAllZeroDisk_Src15And28) {
  const LyingServer server(workspace_, Bytes(3u << 20));
  auto source = open(endpoint_of(server.image_url("shortend")));
  ASSERT_TRUE(source.ok()) << source.error().message();
  EXPECT_EQ((*source)->size_bytes(), 3u << 20);
}

TEST_F(ImageioSourceComponentTest, ServersThatStumbleAreHealed) {
  const LyingServer server(workspace_, disk_);
  struct Case {
    const char* name;
    const char* mode;
    bool counts;  // as a failed try
  };
  const Case cases[] = {
      {"SRC-16 extents without hole", "nohole", false},
      {"SRC-19 a wrong content-range once", "shiftedonce", true},
      {"SRC-21 bodies that are cut off", "truncate", true},
      {"SRC-22 idle connections that are closed", "idleclose", false},
      {"status 500 twice", "s500twice", true},
      {"a short read of the backend twice", "s400twice", true},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.name);
    auto source = open(endpoint_of(server.image_url(c.mode)));
    ASSERT_TRUE(source.ok()) << source.error().message();
    auto read = read_all(**source, 4);
    ASSERT_TRUE(read.ok()) << read.error().message();
    EXPECT_TRUE(*read == disk_);
    EXPECT_EQ((*source)->counters().retries > 0, c.counts) << (*source)->counters().last_error;
    EXPECT_LT((*source)->counters().wire_bytes, disk_.size() + (64u << 10)) << "no byte twice";
  }
}

TEST_F(ImageioSourceComponentTest, WholeImageAndUnknownRangeEndTheCopy) {
  const LyingServer server(workspace_, disk_);
  struct Case {
    const char* name;
    const char* mode;
  };
  const Case cases[] = {
      {"SRC-19 always a wrong content-range", "shifted"},
      {"SRC-19 always a wrong length", "wronglength"},
      {"SRC-20 status 200 for a range", "ignorerange"},
      {"SRC-25 status 416", "r416"},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.name);
    auto source = open(endpoint_of(server.image_url(c.mode), disk_.size()));
    ASSERT_TRUE(source.ok()) << source.error().message();
    auto read = read_all(**source, 1);
    ASSERT_FALSE(read.ok());
    EXPECT_EQ(read.error().kind(), ErrorKind::DataLoss);
  }
  EXPECT_EQ(requests_of(server, "GET", "/images/r416") - 1, 1) << "416 is not repeated";
}

TEST_F(ImageioSourceComponentTest, ExpiredTicketIsRenewedAndTheUrlFollows_Src23) {
  const LyingServer server(workspace_, disk_);
  const DiskEndpoint good = endpoint_of(server.image_url("ok"));
  auto source = open(endpoint_of(server.image_url("expired")),
                     [&](const Error& why, std::stop_token) -> Result<DiskEndpoint> {
                       EXPECT_EQ(why.kind(), ErrorKind::PermissionDenied);
                       return good;
                     });
  ASSERT_TRUE(source.ok()) << source.error().message();
  EXPECT_TRUE(*read_all(**source) == disk_);
}

TEST_F(ImageioSourceComponentTest, CancelledTicketStopsAllWorkersAndKeepsItsSecret_Src24) {
  const LyingServer server(workspace_, disk_);
  std::atomic<int> renewals{0};
  auto source = open(endpoint_of(server.image_url("s403"), disk_.size()),
                     [&](const Error&, std::stop_token) -> Result<DiskEndpoint> {
                       ++renewals;
                       return make_error(ErrorKind::NotFound, "the transfer is gone");
                     });
  ASSERT_TRUE(source.ok()) << source.error().message();
  const auto start = std::chrono::steady_clock::now();
  auto read = read_all(**source, 8);
  ASSERT_FALSE(read.ok());
  EXPECT_LT(std::chrono::steady_clock::now() - start, 1s);
  EXPECT_EQ(renewals, 1);
  EXPECT_EQ(read.error().code(), code::kTicketExpired);
  EXPECT_EQ(read.error().message().find("s403"), std::string::npos) << read.error().message();
}

TEST_F(ImageioSourceComponentTest, SlowExtentsAreWaitedFor_Src26) {
  const LyingServer server(workspace_, disk_);
  ImageioSource::Options options = quick();
  options.patience.stall_timeout = 1s;  // of data; not of extents
  auto source = open(endpoint_of(server.image_url("slowextents")), {}, options);
  ASSERT_TRUE(source.ok()) << source.error().message();
  EXPECT_TRUE((*source)->hints().has_extents);
}

TEST_F(ImageioSourceComponentTest, AllZeroDiskIsNotRead_Src28) {
  const LyingServer server(workspace_, Bytes(3u << 20));
  auto source = open(endpoint_of(server.image_url("ok")));
  ASSERT_TRUE(source.ok());
  EXPECT_EQ(*testing::all_extents(**source),
            (std::vector<Extent>{{{0, 3u << 20}, Allocation::Zero}}));
}

TEST_F(ImageioSourceComponentTest, ProxyUrlIsUsedWhenTheHostCannotBeReached_Src33) {
  const LyingServer server(workspace_, disk_);
  DiskEndpoint endpoint = endpoint_of(
      "http://127.0.0.1:" + std::to_string(testing::free_tcp_port()) + "/images/secret");
  endpoint.fallback_url = server.image_url("ok");
  auto source = open(endpoint);
  ASSERT_TRUE(source.ok()) << source.error().message();
  EXPECT_TRUE(*read_all(**source) == disk_);
  const std::string via = (*source)->counters().via;
  EXPECT_NE(via.find("through the engine's proxy"), std::string::npos) << via;
  EXPECT_EQ(via.find("secret"), std::string::npos) << via;

  // A server's own "no" is no reason to ask another one.
  endpoint.url = server.image_url("options500");
  auto failing = open(endpoint);
  ASSERT_FALSE(failing.ok());
  EXPECT_EQ(failing.error().code(), code::kSourceRead);
  EXPECT_GE(requests_of(server, "OPTIONS", "/images/options500"), 3) << "but to ask again";

  // Neither: both are named, and why.
  endpoint.url = "http://127.0.0.1:" + std::to_string(testing::free_tcp_port()) + "/images/secret";
  endpoint.fallback_url =
      "http://127.0.0.1:" + std::to_string(testing::free_tcp_port()) + "/images/secret";
  auto neither = open(endpoint);
  ASSERT_FALSE(neither.ok());
  EXPECT_EQ(neither.error().code(), code::kSourceUnreachable);
  EXPECT_NE(neither.error().message().find("the oVirt host: "), std::string::npos);
  EXPECT_NE(neither.error().message().find("the engine's proxy: "), std::string::npos);
  EXPECT_EQ(neither.error().message().find("secret"), std::string::npos);

  endpoint.url = "http://127.0.0.1:" + std::to_string(testing::free_tcp_port()) + "/images/secret";
  endpoint.fallback_url.clear();
  auto refused = open(endpoint);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code(), code::kSourceUnreachable);
  EXPECT_EQ(refused.error().message().find("secret"), std::string::npos);
}

TEST_F(ImageioSourceComponentTest, ATebibyteWithOneBlockOfDataIsOneRequest_Src29) {
  const LyingServer server(workspace_, disk_);
  auto source = open(endpoint_of(server.image_url("huge")));
  ASSERT_TRUE(source.ok()) << source.error().message();
  EXPECT_EQ((*source)->size_bytes(), std::uint64_t{1} << 40);
  const auto extents = testing::all_extents(**source);
  ASSERT_TRUE(extents.ok()) << extents.error().message();
  std::uint64_t data = 0;
  for (const Extent& extent : *extents) {
    if (extent.allocation != Allocation::Data) continue;
    Bytes bytes(extent.range.length);
    ASSERT_TRUE((*source)->read(extent.range.offset, bytes, {}).ok());
    EXPECT_TRUE(std::equal(bytes.begin(), bytes.end(), disk_.begin()));
    data += bytes.size();
  }
  EXPECT_EQ(data, 65536u);
  EXPECT_LT(requests_of(server, "GET"), 10);
}

TEST_F(ImageioSourceComponentTest, AHostThatIsGoneIsLookedForElsewhere) {
  const LyingServer server(workspace_, disk_);
  const auto nobody = [] {
    return "http://127.0.0.1:" + std::to_string(testing::free_tcp_port()) + "/images/secret";
  };
  DiskEndpoint gone = endpoint_of(nobody());
  gone.fallback_url = nobody();
  std::atomic<int> asked{0};
  auto source = open(gone, [&](const Error& why, std::stop_token) -> Result<DiskEndpoint> {
    ++asked;
    EXPECT_EQ(why.code(), code::kSourceUnreachable);
    return endpoint_of(server.image_url("ok"));
  });
  ASSERT_TRUE(source.ok()) << source.error().message();
  EXPECT_EQ(asked, 1);
  EXPECT_TRUE(*read_all(**source) == disk_);

  auto later = open(gone, [&](const Error&, std::stop_token) -> Result<DiskEndpoint> {
    return make_error(ErrorKind::Unavailable, "the transfer is being resumed");
  });
  ASSERT_FALSE(later.ok());
  EXPECT_EQ(later.error().kind(), ErrorKind::Unavailable) << "another attempt may succeed";
}

TEST_F(ImageioSourceComponentTest, ADigestThatTheServerCannotMakeIsNoneAndNoFailure) {
  const LyingServer server(workspace_, disk_);
  auto source = open(endpoint_of(server.image_url("nochecksum")));
  ASSERT_TRUE(source.ok()) << source.error().message();
  const auto digest = (*source)->server_digest("sha256", {});
  ASSERT_TRUE(digest.ok()) << digest.error().message();
  EXPECT_FALSE(digest->has_value());
}

TEST_F(ImageioSourceComponentTest, ServerDigestIsTheLeafRootOfTheDisk_Src39) {
  const LyingServer server(workspace_, disk_);
  auto source = open(endpoint_of(server.image_url("ok")));
  ASSERT_TRUE(source.ok());
  const auto digest = (*source)->server_digest("sha256", {});
  ASSERT_TRUE(digest.ok()) << digest.error().message();
  ASSERT_TRUE(digest->has_value());
  EXPECT_EQ((*digest)->hex, leaf_root(disk_));
  EXPECT_FALSE((*source)->server_digest("xxh3-128", {})->has_value());
}

TEST_F(ImageioSourceComponentTest, AConnectionLostWhileTheServerDigestsIsNoReasonToFail) {
  const LyingServer server(workspace_, disk_);
  auto source = open(endpoint_of(server.image_url("losechecksum")));
  ASSERT_TRUE(source.ok()) << source.error().message();
  const auto digest = (*source)->server_digest("sha256", {});
  ASSERT_TRUE(digest.ok()) << digest.error().message();
  ASSERT_TRUE(digest->has_value());
  EXPECT_EQ((*digest)->hex, leaf_root(disk_));
  EXPECT_GE((*source)->counters().retries, 2u);
}

TEST_F(ImageioSourceComponentTest, IdleSourceKeepsItsTicketAlive) {
  const LyingServer server(workspace_, disk_);
  ImageioSource::Options options = quick();
  options.keep_alive = 100ms;
  auto source = open(endpoint_of(server.image_url("ok")), {}, options);
  ASSERT_TRUE(source.ok());
  std::this_thread::sleep_for(600ms);
  EXPECT_GE(requests_of(server, "OPTIONS"), 3);
}

}  // namespace
}  // namespace vmferry
