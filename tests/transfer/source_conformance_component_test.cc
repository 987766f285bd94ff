// One conformance suite for every source, the memory one included.
#include <fcntl.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <set>

#include "common/fd.h"
#include "tests/transfer/support/disks.h"
#include "tests/transfer/support/source_peers.h"
#include "tests/transfer/support/vmdk_stream_builder.h"
#include "transfer/copy.h"
#include "transfer/open_source.h"
#include "transfer/sinks/memory.h"
#include "transfer/sources/memory.h"

namespace vmferry {
namespace {

using testing::Bytes;
using testing::LyingServer;
using testing::Nbdkit;
using testing::Workspace;

enum class Kind {
  Memory,
  File,
  Nbd,
  NbdOneConnection,
  NbdTls,
  NbdPsk,
  QemuNbd,
  NbdkitChild,
  HttpRange,
  HttpsRange,
  HttpWithoutRanges,
  FlatVmdk,
  Imageio,
  ImageioTls,
  VmdkStream,
};

struct Case {
  const char* name;
  Kind kind;
};

class SourceConformanceTest : public ::testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    const Kind kind = GetParam().kind;
    const bool nbdkit = kind == Kind::Nbd || kind == Kind::NbdOneConnection ||
                        kind == Kind::NbdTls || kind == Kind::NbdPsk || kind == Kind::NbdkitChild;
    const bool python = kind == Kind::HttpRange || kind == Kind::HttpsRange ||
                        kind == Kind::HttpWithoutRanges || kind == Kind::FlatVmdk || is_imageio() ||
                        kind == Kind::VmdkStream;
    if (nbdkit && !testing::has_program("nbdkit")) GTEST_SKIP() << "needs nbdkit";
    if (python && !testing::has_program("python3")) GTEST_SKIP() << "needs python3";
    if (kind == Kind::NbdPsk && !testing::has_program("psktool")) GTEST_SKIP() << "needs psktool";
    if (kind == Kind::QemuNbd && !testing::has_program("qemu-nbd")) {
      GTEST_SKIP() << "needs qemu-nbd";
    }
    std::filesystem::create_directory(workspace_.path("scratch"));
    environment_.scratch_directory = workspace_.path("scratch");
  }

  static bool is_imageio() {
    return GetParam().kind == Kind::Imageio || GetParam().kind == Kind::ImageioTls;
  }
  // nbdkit on a port, with TLS.
  std::string nbds(const std::string& image, const std::string& user, const std::string& keys) {
    const int port = testing::free_tcp_port();
    peer_ = std::make_unique<testing::Peer>(std::vector<std::string>{
        "nbdkit", "--foreground", "--readonly", "--exit-with-parent", "--ipaddr=127.0.0.1",
        "--port=" + std::to_string(port), "--tls=require", keys, "file", image});
    EXPECT_TRUE(testing::wait_for_port(port)) << peer_->stderr_text();
    return fmt::format("nbds://{}localhost:{}/", user, port);
  }

  // A source of `disk`; peers live as long as the test.
  std::unique_ptr<DiskSource> open(const Bytes& disk) {
    const Kind kind = GetParam().kind;
    if (kind == Kind::Memory) return std::make_unique<MemorySource>(disk);
    DiskEndpoint endpoint;
    endpoint.size_bytes = disk.size();
    const std::string image = workspace_.write("disk.img", disk);
    switch (kind) {
      case Kind::Memory:
        break;
      case Kind::File:
        endpoint.kind = SourceKind::File;
        endpoint.url = image;
        break;
      case Kind::Nbd:
      case Kind::NbdOneConnection:
        nbdkit_ = std::make_unique<Nbdkit>(workspace_, std::vector<std::string>{"file", image});
        endpoint.kind = SourceKind::Nbd;
        endpoint.url = nbdkit_->uri();
        if (kind == Kind::NbdOneConnection) endpoint.max_connections = 1;
        break;
      case Kind::NbdTls:
        pki_.emplace(workspace_);
        endpoint.kind = SourceKind::Nbd;
        endpoint.url = nbds(image, "", "--tls-certificates=" + pki_->directory);
        break;
      case Kind::NbdPsk: {
        const std::string keys = workspace_.path("keys.psk");
        EXPECT_EQ(testing::run({"psktool", "-u", "alice", "-p", keys}), 0);
        endpoint.kind = SourceKind::Nbd;
        endpoint.url = nbds(image, "alice@", "--tls-psk=" + keys) + "?tls-psk-file=" + keys;
        break;
      }
      case Kind::QemuNbd: {
        const std::string socket = workspace_.path("qemu.sock");
        peer_ = std::make_unique<testing::Peer>(
            std::vector<std::string>{"qemu-nbd", "--persistent", "--shared=8", "--read-only",
                                     "--format=raw", "--socket=" + socket, image});
        EXPECT_TRUE(testing::wait_for_file(socket));
        endpoint.kind = SourceKind::Nbd;
        endpoint.url = "nbd+unix:///?socket=" + socket;
        break;
      }
      case Kind::NbdkitChild:
        environment_.vddk_stand_in = {"file", workspace_.path("{path}")};
        endpoint.kind = SourceKind::NbdkitVddk;
        endpoint.vddk.file = "[store] disk.img";
        break;
      case Kind::HttpsRange:
        pki_.emplace(workspace_);
        [[fallthrough]];
      case Kind::HttpRange:
      case Kind::HttpWithoutRanges:
        server_ = std::make_unique<LyingServer>(workspace_, disk, pki_ ? &*pki_ : nullptr);
        endpoint.kind = SourceKind::HttpRange;
        endpoint.url = server_->file_url(kind == Kind::HttpWithoutRanges ? "ignorerange" : "ok");
        break;
      case Kind::FlatVmdk:
        std::filesystem::create_directories(workspace_.path("vm"));
        workspace_.write("vm/d-flat.vmdk", disk);
        workspace_.write("vm/d.vmdk",
                         fmt::format("version=1\nCID=1\nparentCID=ffffffff\nRW {} VMFS "
                                     "\"d-flat.vmdk\"\n",
                                     disk.size() / 512));
        server_ = std::make_unique<LyingServer>(workspace_, workspace_.path("vm"));
        endpoint.kind = SourceKind::HttpRange;
        endpoint.url = server_->file_url("ok", "d.vmdk");
        break;
      case Kind::ImageioTls:
        pki_.emplace(workspace_);
        [[fallthrough]];
      case Kind::Imageio:
        server_ = std::make_unique<LyingServer>(workspace_, disk, pki_ ? &*pki_ : nullptr);
        endpoint.kind = SourceKind::Imageio;
        endpoint.url = server_->image_url("ok");
        break;
      case Kind::VmdkStream:
        server_ = std::make_unique<LyingServer>(workspace_, testing::make_vmdk_stream(disk));
        endpoint.kind = SourceKind::VmdkStream;
        endpoint.url = server_->file_url("ok");
        break;
    }
    if (pki_) endpoint.trust.ca_pem = *read_file(pki_->ca());
    Result<std::unique_ptr<DiskSource>> source = open_source(endpoint, environment_, {});
    EXPECT_TRUE(source.ok()) << to_string(source.error());
    return source ? *std::move(source) : nullptr;
  }

  Workspace workspace_;
  SourceEnvironment environment_;
  std::optional<testing::TestPki> pki_;
  std::unique_ptr<Nbdkit> nbdkit_;
  std::unique_ptr<testing::Peer> peer_;
  std::unique_ptr<LyingServer> server_;
};

constexpr std::size_t kSize = (3u << 20) + 3 * 512;

TEST_P(SourceConformanceTest, ReadsEveryByteOfTheSizeThatItTells) {
  const Bytes disk = testing::patterned(kSize, 7, 5);
  const auto source = open(disk);
  ASSERT_NE(source, nullptr);
  EXPECT_EQ(source->size_bytes(), disk.size());
  const SourceHints hints = source->hints();
  EXPECT_GE(hints.workers, 1);
  EXPECT_EQ(hints.request_bytes % kChunkBytes, 0u);
  const auto read = testing::read_all(*source, hints.sequential ? 1 : 8);
  ASSERT_TRUE(read.ok()) << to_string(read.error());
  EXPECT_TRUE(*read == disk);
  if (GetParam().kind != Kind::Memory) {  // its figures are given
    EXPECT_GT(source->counters().requests, 0u);
    EXPECT_GT(source->counters().wire_bytes, 0u);
    EXPECT_EQ(source->counters().retries, 0u) << source->counters().last_error;
  }
}

TEST_P(SourceConformanceTest, ExtentsCoverTheDiskAndZeroMeansZero) {
  Bytes disk = testing::patterned(kSize, 7, 5);
  std::fill(disk.begin() + (1 << 20), disk.begin() + (2 << 20), std::byte{0});
  const auto source = open(disk);
  ASSERT_NE(source, nullptr);
  const auto extents = testing::all_extents(*source);  // checks order and gaps
  ASSERT_TRUE(extents.ok()) << to_string(extents.error());
  ASSERT_EQ(extents->back().range.end(), disk.size());
  for (const Extent& extent : *extents) {
    if (extent.allocation != Allocation::Zero) continue;
    const auto first = disk.begin() + static_cast<std::ptrdiff_t>(extent.range.offset);
    EXPECT_TRUE(std::all_of(first, first + static_cast<std::ptrdiff_t>(extent.range.length),
                            [](std::byte byte) { return byte == std::byte{0}; }))
        << extent.range.offset;
  }
  // Any part of the disk may be asked about; no answer goes beyond it.
  for (const ByteRange range :
       {ByteRange{512, 1024}, ByteRange{(1u << 20) - 512, 4096}, ByteRange{kSize - 512, 512}}) {
    const auto part = source->extents(range, {});
    ASSERT_TRUE(part.ok());
    ASSERT_FALSE(part->empty());
    EXPECT_EQ(part->front().range.offset, range.offset);
    EXPECT_LE(part->back().range.end(), range.end());
  }
}

TEST_P(SourceConformanceTest, OddRangesAreReadAndThoseBeyondTheEndAreDataLoss) {
  const Bytes disk = testing::patterned(kSize, 7, 5);
  const auto source = open(disk);
  ASSERT_NE(source, nullptr);
  // In order, for a source that cannot go back.
  for (const ByteRange range :
       {ByteRange{1, 1}, ByteRange{511, 2}, ByteRange{65535, 70000},
        ByteRange{(1u << 20) - 1, (1u << 20) + 2}, ByteRange{kSize - 100, 100}}) {
    Bytes part(range.length);
    const Result<void> read = source->read(range.offset, part, {});
    ASSERT_TRUE(read.ok()) << range.offset << ": " << to_string(read.error());
    EXPECT_TRUE(std::equal(part.begin(), part.end(),
                           disk.begin() + static_cast<std::ptrdiff_t>(range.offset)));
  }
  Bytes two(2);
  EXPECT_EQ(source->read(kSize - 1, two, {}).error().kind(), ErrorKind::DataLoss);
  EXPECT_EQ(source->read(kSize + 5, two, {}).error().kind(), ErrorKind::DataLoss);
  Bytes nothing;
  EXPECT_TRUE(source->read(kSize, nothing, {}).ok());
}

TEST_P(SourceConformanceTest, AStoppedReadIsCanceled) {
  const auto source = open(testing::patterned(kSize, 7, 5));
  ASSERT_NE(source, nullptr);
  std::stop_source stop;
  stop.request_stop();
  Bytes part(4096);
  EXPECT_EQ(source->read(0, part, stop.get_token()).error().kind(), ErrorKind::Canceled);
}

TEST_P(SourceConformanceTest, IdentityIsNamedOnceEachAndTheSameTheNextTime) {
  const Bytes disk = testing::patterned(kSize, 7, 5);
  environment_.fingerprint = true;
  const auto source = open(disk);
  ASSERT_NE(source, nullptr);
  const auto identity = source->identity();
  EXPECT_EQ(source->identity(), identity);
  std::set<std::string> names;
  for (const auto& [name, value] : identity) {
    EXPECT_TRUE(names.insert(name).second) << name;
    EXPECT_FALSE(value.empty()) << name;
  }
  EXPECT_FALSE(identity.empty());
}

TEST_P(SourceConformanceTest, ACopyOfItIsEqualAndItsDigestRight) {
  const Bytes disk = testing::patterned(kSize, 11, 3);
  const auto source = open(disk);
  ASSERT_NE(source, nullptr);
  MemorySink sink(disk.size());
  CopyMonitor monitor;
  const SystemClock clock;
  const Result<CopyResult> result =
      copy_disk(*source, sink, nullptr, nullptr, {}, monitor, clock, Logger(), {});
  ASSERT_TRUE(result.ok()) << to_string(result.error());
  EXPECT_TRUE(sink.durable_content() == disk);
  EXPECT_EQ(result->digest, testing::reference_digest(disk, HashAlgorithm::Xxh3_128));
}

TEST_P(SourceConformanceTest, ADigestOfTheServerIsTheLeafRoot) {
  const Bytes disk = testing::patterned(kSize, 11, 3);
  const auto source = open(disk);
  ASSERT_NE(source, nullptr);
  const auto digest = source->server_digest("sha256", {});
  ASSERT_TRUE(digest.ok()) << to_string(digest.error());
  EXPECT_EQ(digest->has_value(), is_imageio());
  if (*digest) {
    EXPECT_EQ("sha256:" + (*digest)->hex, testing::reference_digest(disk, HashAlgorithm::Sha256));
  }
}

INSTANTIATE_TEST_SUITE_P(
    Sources, SourceConformanceTest,
    ::testing::Values(Case{"Memory", Kind::Memory}, Case{"File", Kind::File},
                      Case{"Nbd", Kind::Nbd}, Case{"NbdOneConnection", Kind::NbdOneConnection},
                      Case{"NbdTls", Kind::NbdTls}, Case{"NbdPsk", Kind::NbdPsk},
                      Case{"QemuNbd", Kind::QemuNbd}, Case{"NbdkitChild", Kind::NbdkitChild},
                      Case{"HttpRange", Kind::HttpRange}, Case{"HttpsRange", Kind::HttpsRange},
                      Case{"HttpWithoutRanges", Kind::HttpWithoutRanges},
                      Case{"FlatVmdk", Kind::FlatVmdk}, Case{"Imageio", Kind::Imageio},
                      Case{"ImageioTls", Kind::ImageioTls}, Case{"VmdkStream", Kind::VmdkStream}),
    [](const auto& parameter) { return std::string(parameter.param.name); });

// ---- what tells a changed source ----

TEST(FingerprintComponentTest, AnExportWithOtherContentHasAnotherIdentity) {
  if (!testing::has_program("nbdkit")) GTEST_SKIP() << "needs nbdkit";
  const Workspace workspace;
  Bytes disk(40u << 20);
  const Bytes data = testing::patterned(1u << 20, 3);
  std::copy(data.begin(), data.end(), disk.begin() + (17 << 20));  // an island in zeros
  const auto identity_of = [&](bool fingerprint) {
    const std::string image = workspace.path("disk.img");
    std::filesystem::remove(image);
    EXPECT_EQ(testing::run({"truncate", "-s", std::to_string(disk.size()), image}), 0);
    const UniqueFd fd(::open(image.c_str(), O_WRONLY | O_CLOEXEC));
    EXPECT_TRUE(write_fully(fd.get(), 17u << 20,
                            std::span<const std::byte>(disk).subspan(17u << 20, 1u << 20))
                    .ok());
    EXPECT_TRUE(write_fully(fd.get(), 0, std::span<const std::byte>(disk).first(512)).ok());
    const Nbdkit server(workspace, {"file", image});
    DiskEndpoint endpoint;
    endpoint.kind = SourceKind::Nbd;
    endpoint.url = server.uri();
    SourceEnvironment environment;
    environment.fingerprint = fingerprint;
    const auto source = open_source(endpoint, environment, {});
    EXPECT_TRUE(source.ok()) << to_string(source.error());
    return (*source)->identity();
  };
  const auto first = identity_of(true);
  EXPECT_EQ(identity_of(true), first);
  const auto plain = identity_of(false);
  disk[17u << 20] ^= std::byte{1};  // at the beginning of data
  EXPECT_NE(identity_of(true), first);
  EXPECT_EQ(identity_of(false), plain) << "without it, nothing tells the two apart";
  disk[17u << 20] ^= std::byte{1};
  disk[100] = std::byte{1};  // in the first sector
  EXPECT_NE(identity_of(true), first);
}

// A ticket is always new and a datastore path stays: neither tells what disk it leads to.
TEST(FingerprintComponentTest, WhatNoProviderIdentifiesIsKnownByItsContent) {
  if (!testing::has_program("python3")) GTEST_SKIP() << "needs python3";
  if (!testing::has_program("nbdkit")) GTEST_SKIP() << "needs nbdkit";
  for (const SourceKind kind : {SourceKind::Imageio, SourceKind::NbdkitVddk}) {
    SCOPED_TRACE(static_cast<int>(kind));
    const Workspace workspace;
    const Bytes first = testing::patterned(3u << 20, 3);
    Bytes second = first;
    second[1000] ^= std::byte{1};
    const auto identity_of = [&](const Bytes& disk, const char* ticket,
                                 std::vector<std::pair<std::string, std::string>> known) {
      const Workspace peer;
      const testing::LyingServer server(peer, disk);
      workspace.write("disk.img", disk);
      DiskEndpoint endpoint;
      endpoint.kind = kind;
      if (kind == SourceKind::Imageio) endpoint.url = server.image_url(ticket);
      endpoint.vddk.file = "[store] disk.img";
      endpoint.identity = std::move(known);
      SourceEnvironment environment;
      environment.fingerprint = true;
      environment.scratch_directory = workspace.path("");
      environment.vddk_stand_in = {"file", workspace.path("{path}")};
      const auto source = open_source(endpoint, environment, {});
      EXPECT_TRUE(source.ok()) << to_string(source.error());
      return source ? (*source)->identity() : std::vector<std::pair<std::string, std::string>>{};
    };
    EXPECT_EQ(identity_of(first, "one", {}), identity_of(first, "two", {}));
    EXPECT_NE(identity_of(first, "one", {}), identity_of(second, "two", {}));
    const std::vector<std::pair<std::string, std::string>> known{{"change version", "7"}};
    EXPECT_EQ(identity_of(first, "one", known), known) << "its provider knows better";
  }
}

// A stream cannot be sampled: one that nothing identifies is another one each time.
TEST(FingerprintComponentTest, AStreamThatNothingIdentifiesIsNeverTheSame) {
  if (!testing::has_program("python3")) GTEST_SKIP() << "needs python3";
  const Workspace workspace;
  const testing::LyingServer server(workspace, testing::patterned(3u << 20, 3));
  const auto identity_of = [&](const char* mode) {
    DiskEndpoint endpoint;
    endpoint.kind = SourceKind::HttpRange;
    endpoint.url = server.file_url(mode);
    SourceEnvironment environment;
    environment.fingerprint = true;
    const auto source = open_source(endpoint, environment, {});
    EXPECT_TRUE(source.ok()) << to_string(source.error());
    return source.ok() ? (*source)->identity() : std::vector<std::pair<std::string, std::string>>{};
  };
  EXPECT_NE(identity_of("ignorerange+anonymous"), identity_of("ignorerange+anonymous"));
  EXPECT_EQ(identity_of("ignorerange"), identity_of("ignorerange"));
  EXPECT_EQ(identity_of("anonymous"), identity_of("anonymous"));  // by samples

  const Workspace lease;
  const testing::LyingServer exporting(lease,
                                       testing::make_vmdk_stream(testing::patterned(1u << 20, 3)));
  const auto identity_of_export = [&] {
    DiskEndpoint endpoint;
    endpoint.kind = SourceKind::VmdkStream;
    endpoint.url = exporting.file_url("ok");
    const auto source = open_source(endpoint, {}, {});
    EXPECT_TRUE(source.ok()) << to_string(source.error());
    return source ? (*source)->identity() : std::vector<std::pair<std::string, std::string>>{};
  };
  EXPECT_NE(identity_of_export(), identity_of_export());
}

}  // namespace
}  // namespace vmferry
