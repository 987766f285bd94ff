// nbdkit's own vddk plugin with a stand-in for VMware's library (tests/support/vddk). Rows are
// those of source-vmware.md 10.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include <stop_token>
#include <thread>

#include "common/catalogue.h"
#include "common/fd.h"
#include "tests/support/places.h"
#include "tests/transfer/support/source_peers.h"
#include "transfer/sources/nbdkit.h"
#include "transfer/sources/nbdkit_command.h"
#include "transfer/sources/nbdkit_probe.h"

namespace vmferry {
namespace {

using namespace std::chrono_literals;
using ::testing::AllOf;
using testing::Bytes;
using ::testing::HasSubstr;
using ::testing::Not;
using testing::patterned;
using testing::read_all;
using testing::Workspace;

constexpr std::string_view kThumbprint =
    "AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD";
constexpr std::string_view kPassword = "s3cr3t & <words>";

// Where ./dev setup puts the plugin; VMFERRY_VDDK_BED names another place.
std::string bed() {
  const char* named = std::getenv("VMFERRY_VDDK_BED");
  return named != nullptr && *named != '\0'
             ? named
             : std::filesystem::path(testing::build_dir()).parent_path().string() + "/vddk-bed";
}

std::string whole(const std::string& path) {
  std::ifstream stream(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

class VddkComponentTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (::access((bed() + "/sbin/nbdkit").c_str(), X_OK) != 0) {
      GTEST_SKIP() << "needs nbdkit's vddk plugin: tests/support/vddk/build.sh " << bed();
    }
    for (const char* name : {"scratch", "vddk", "store", "store/vm"}) {
      std::filesystem::create_directory(workspace_.path(name));
    }
    std::filesystem::create_directory_symlink(bed() + "/vddk/lib64", workspace_.path("vddk/lib64"));
    environment_.nbdkit_program = bed() + "/sbin/nbdkit";
    environment_.vddk_libdir = workspace_.path("vddk");
    environment_.scratch_directory = workspace_.path("scratch");
    workspace_.write("store/vm/disk-flat.vmdk", base_);
    workspace_.write("store/vm/disk-000001-delta.vmdk", current_);
    endpoint_.kind = SourceKind::NbdkitVddk;
    endpoint_.vddk.server = "vc.example";
    endpoint_.vddk.user = "administrator@vsphere.local";
    endpoint_.vddk.password = SecretString(std::string(kPassword));
    endpoint_.vddk.thumbprint = kThumbprint;
    endpoint_.vddk.vm_moref = "vm-42";
    endpoint_.vddk.file = "[store 1] vm/disk.vmdk";
    options_.nbd.reconnect = {.first = 10ms, .cap = 50ms};
    options_.stop_grace = 5s;
    configure("");
  }

  // What the stand-in demands of whoever connects, and more.
  void configure(const std::string& more) {
    std::ostringstream text;
    text << "root=" << workspace_.path("store") << "\nserver=vc.example"
         << "\nuser=administrator@vsphere.local\npassword=" << kPassword
         << "\nthumbprint=" << kThumbprint << "\nvm=vm-42\ntransports=nbdssl:nbd"
         << "\nlog=" << workspace_.path("calls") << "\n"
         << more;
    workspace_.write("vddk/stand-in.conf", text.str());
  }
  std::string calls() const { return whole(workspace_.path("calls")); }
  Result<std::unique_ptr<DiskSource>> open() {
    return open_nbdkit_source(endpoint_, environment_, options_, {});
  }
  static std::size_t count(const std::string& text, const std::string& word) {
    std::size_t found = 0;
    for (std::size_t at = text.find(word); at != std::string::npos; at = text.find(word, at + 1)) {
      ++found;
    }
    return found;
  }
  // The child's process id, from its pidfile.
  pid_t child() const {
    for (const auto& entry :
         std::filesystem::recursive_directory_iterator(workspace_.path("scratch"))) {
      if (entry.path().extension() == ".pid") return std::stoi(*read_file(entry.path()));
    }
    return -1;
  }

  Workspace workspace_;
  const Bytes base_ = patterned((24u << 20) + 512, 1, 4);
  const Bytes current_ = patterned((24u << 20) + 512, 2, 4);
  DiskEndpoint endpoint_;
  SourceEnvironment environment_;
  NbdkitOptions options_;
};

#define ASSERT_OK(result) \
  ASSERT_TRUE((result).ok()) << ((result).ok() ? "" : to_string((result).error()))

TEST_F(VddkComponentTest, ReadsTheDiskOverOneSessionWithManyRequests) {
  {
    const auto source = open();
    ASSERT_OK(source);
    EXPECT_EQ((*source)->size_bytes(), base_.size());
    const auto bytes = read_all(**source, 8);
    ASSERT_OK(bytes);
    EXPECT_TRUE(*bytes == base_);
  }
  const std::string log = calls();
  EXPECT_EQ(count(log, "connect "), 1u) << log;
  EXPECT_EQ(count(log, "open "), 1u);
  EXPECT_EQ(count(log, "disconnect"), 1u) << "the session is closed when the copy ends";
  EXPECT_THAT(log,
              HasSubstr("connect server=vc.example user=administrator@vsphere.local thumbprint=" +
                        std::string(kThumbprint) +
                        " vm=moref=vm-42 snapshot=- transports=nbdssl:nbd read-only=1"));
  EXPECT_THAT(log, HasSubstr("open [store 1] vm/disk.vmdk"));
  EXPECT_THAT(log, AllOf(HasSubstr("config vixDiskLib.nfcAio.Session.BufSizeIn64KB=16"),
                         HasSubstr("config vixDiskLib.nfcAio.Session.BufCount=4")));
}

// nbdkit that is told to end closes nothing any more: what is open then is never ended.
TEST_F(VddkComponentTest, EverySessionIsEndedHoweverSoonTheDiskIsClosed) {
  constexpr int kTimes = 25;
  for (int i = 0; i < kTimes; ++i) {
    const auto source = open();
    ASSERT_OK(source);
  }
  EXPECT_EQ(count(calls(), "connect server="), std::size_t{kTimes});
  EXPECT_EQ(count(calls(), "disconnect"), std::size_t{kTimes}) << calls();
}

TEST_F(VddkComponentTest, ASessionThatIsBegunWhenOpeningIsCanceledIsEndedToo) {
  configure("connect_delay_us=1500000\n");
  std::stop_source stop;
  const std::jthread canceler([&] {
    while (count(calls(), "connect server=") == 0) std::this_thread::sleep_for(5ms);
    stop.request_stop();
  });
  const auto canceled = open_nbdkit_source(endpoint_, environment_, options_, stop.get_token());
  ASSERT_FALSE(canceled.ok());
  EXPECT_EQ(canceled.error().kind(), ErrorKind::Canceled) << to_string(canceled.error());
  EXPECT_EQ(count(calls(), "connect server="), 1u);
  EXPECT_EQ(count(calls(), "disconnect"), 1u) << calls();
}

TEST_F(VddkComponentTest, Vsrc45TheProbeLoadsTheLibraries) {
  const Result<void> usable = check_vddk(environment_, {});
  ASSERT_OK(usable);
  EXPECT_EQ(count(calls(), "connect "), 0u) << "nobody is logged in to for it";
  std::filesystem::remove(workspace_.path("vddk/lib64"));
  std::filesystem::create_directory(workspace_.path("vddk/lib64"));
  for (const char* name : {"libvixDiskLib.so.8", "libvixDiskLib.so.6"}) {
    workspace_.write("vddk/lib64/" + std::string(name), std::string("no library"));
    const Result<void> broken = check_vddk(environment_, {});
    ASSERT_FALSE(broken.ok()) << name;
    EXPECT_EQ(broken.error().code(), code::kVddkMissing) << to_string(broken.error());
    EXPECT_THAT(broken.error().message(), HasSubstr(name));
    std::filesystem::remove(workspace_.path("vddk/lib64/" + std::string(name)));
  }
  const Result<void> empty = check_vddk(environment_, {});
  ASSERT_FALSE(empty.ok());
  EXPECT_EQ(empty.error().code(), code::kVddkMissing) << to_string(empty.error());
}

TEST_F(VddkComponentTest, ADeltaIsReadAsTheGuestSeesItAndASnapshotIsNamed) {
  endpoint_.vddk.file = "[store 1] vm/disk-000001.vmdk";
  endpoint_.vddk.snapshot_moref = "snapshot-55";
  configure("snapshot=snapshot-55\n");
  const auto source = open();
  ASSERT_OK(source);
  const auto bytes = read_all(**source, 8);
  ASSERT_OK(bytes);
  EXPECT_TRUE(*bytes == current_);
}

TEST_F(VddkComponentTest, Vsrc48PasswordIsInNoArgumentEnvironmentOrLog) {
  const auto source = open();
  ASSERT_OK(source);
  const pid_t pid = child();
  ASSERT_GT(pid, 0);
  const std::string proc = "/proc/" + std::to_string(pid);
  const std::string arguments = whole(proc + "/cmdline");
  EXPECT_THAT(arguments, AllOf(HasSubstr("vddk"), HasSubstr("server=vc.example"),
                               HasSubstr("file=[store 1] vm/disk.vmdk"), HasSubstr("config=")));
  EXPECT_THAT(arguments, Not(HasSubstr("s3cr3t")));
  EXPECT_THAT(whole(proc + "/environ"), Not(HasSubstr("s3cr3t")));
  EXPECT_THAT(calls(), Not(HasSubstr("s3cr3t")));
}

TEST_F(VddkComponentTest, Vsrc48PasswordIsInNoErrorText) {
  configure("password=another\n");
  const auto refused = open();
  ASSERT_FALSE(refused.ok());
  EXPECT_THAT(refused.error().message(), Not(HasSubstr("s3cr3t")));
}

TEST_F(VddkComponentTest, AWrongPasswordIsToldAndNotTriedUntilTheAccountIsLocked) {
  configure("password=another\n");
  const auto refused = open();
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().kind(), ErrorKind::PermissionDenied) << refused.error().message();
  EXPECT_EQ(refused.error().code(), code::kSourceAuth);
  EXPECT_LE(count(calls(), "connect "), 2u);
}

TEST_F(VddkComponentTest, Vsrc10AWrongThumbprintIsRefusedAndTold) {
  endpoint_.vddk.thumbprint = "BB" + std::string(kThumbprint).substr(2);
  const auto refused = open();
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().kind(), ErrorKind::PermissionDenied) << refused.error().message();
  EXPECT_EQ(refused.error().code(), code::kSourceTls);
}

TEST_F(VddkComponentTest, AMissingDiskIsTold) {
  endpoint_.vddk.file = "[store 1] vm/other.vmdk";
  const auto missing = open();
  ASSERT_FALSE(missing.ok());
  EXPECT_EQ(missing.error().code(), code::kDiskMissing) << missing.error().message();
}

TEST_F(VddkComponentTest, ALostSessionIsHealed) {
  configure("lose_session_after=10\n");
  const auto source = open();
  ASSERT_OK(source);
  const auto bytes = read_all(**source, 4);
  ASSERT_OK(bytes);
  EXPECT_TRUE(*bytes == base_);
  EXPECT_GE(count(calls(), "open "), 2u) << "the disk was opened anew";
}

TEST_F(VddkComponentTest, AChildThatHangsInAReadIsKilledAndTheDiskIsReadOn) {
  configure("hang_after=10\nhang_once=" + workspace_.path("hung") + "\n");
  options_.nbd.watchdog = 1500ms;
  const auto source = open();
  ASSERT_OK(source);
  const auto bytes = read_all(**source, 4);
  ASSERT_OK(bytes);
  EXPECT_TRUE(*bytes == base_);
  EXPECT_GE(count(calls(), "hang in read"), 1u) << calls();
  EXPECT_GE(count(calls(), "connect "), 2u) << "another child";
}

TEST_F(VddkComponentTest, AChildThatHangsInOpeningIsKilled) {
  configure("hang_open=1\nhang_once=" + workspace_.path("hung") + "\n");
  options_.nbd.connect_deadline = 1500ms;
  const auto hung = open();
  ASSERT_FALSE(hung.ok());
  EXPECT_TRUE(is_retryable(hung.error().kind())) << to_string(hung.error());
  const auto source = open();  // the next attempt
  ASSERT_OK(source);
}

TEST_F(VddkComponentTest, AChildThatHangsAgainAndAgainIsGivenUp) {
  configure("hang_after=1\n");
  options_.nbd.watchdog = 300ms;
  options_.max_restarts = 2;
  const auto source = open();
  ASSERT_OK(source);
  Bytes into(1 << 20);
  std::optional<Error> failed;
  for (std::uint64_t at = 0; at < base_.size() - into.size() && !failed; at += into.size()) {
    const auto read = (*source)->read(at, into, {});
    if (!read) failed = read.error();
  }
  ASSERT_TRUE(failed);
  EXPECT_THAT(failed->message(), HasSubstr("died or hung 3 times"));
  EXPECT_TRUE(is_retryable(failed->kind())) << "it ends the attempt, not the import";
  EXPECT_EQ(count(calls(), "connect "), 3u);
  EXPECT_NE(::kill(child(), 0), 0) << "and none is left";
}

TEST_F(VddkComponentTest, Vsrc46ReadsTooLargeForTheHostAreMadeSmallerStepByStep) {
  options_.nbd.memory_pause = 50ms;
  for (const std::uint32_t largest : {512u << 10, 256u << 10}) {
    SCOPED_TRACE(largest);
    std::filesystem::remove(workspace_.path("calls"));
    configure("largest_read=" + std::to_string(largest) + "\n");
    const auto source = open();
    ASSERT_OK(source);
    const auto bytes = read_all(**source, 1);  // no other worker's read helps
    ASSERT_OK(bytes);
    EXPECT_TRUE(*bytes == base_);
    EXPECT_GE(count(calls(), "read refused"), 1u);
    // The plugin asks again by itself, once for each.
    EXPECT_LE(count(calls(), "read refused"), largest == 512u << 10 ? 2u : 4u) << calls();
  }
}

TEST_F(VddkComponentTest, Vsrc46AHostWithNoMemoryForAnyReadFailsTheAttempt) {
  options_.nbd.memory_pause = 1ms;
  options_.nbd.retry_delays = {1ms};
  configure("largest_read=512\n");
  const auto source = open();
  ASSERT_OK(source);
  Bytes into(1 << 20);
  const auto read = (*source)->read(0, into, {});
  ASSERT_FALSE(read.ok());
  EXPECT_THAT(read.error().message(), HasSubstr("nbdkit: "));
}

TEST_F(VddkComponentTest, AllocationIsAskedForAndHolesAreNotRead) {
  std::filesystem::remove(workspace_.path("store/vm/disk-flat.vmdk"));
  {
    std::ofstream file(workspace_.path("store/vm/disk-flat.vmdk"), std::ios::binary);
    file.write(reinterpret_cast<const char*>(base_.data()), 1 << 20);
    file.seekp((64 << 20) - 1);
    file.put('x');
  }
  const auto source = open();
  ASSERT_OK(source);
  const auto range = ByteRange::make(0, 64u << 20);
  const auto extents = (*source)->extents(*range, {});
  ASSERT_OK(extents);
  std::uint64_t data = 0;
  for (const Extent& extent : *extents) {
    if (extent.allocation == Allocation::Data) data += extent.range.length;
  }
  EXPECT_GE(data, 1u << 20);
  EXPECT_LE(data, 2u << 20);
  EXPECT_GE(count(calls(), "query-allocated"), 1u);
}

TEST_F(VddkComponentTest, ADiskWithoutAllocationIsReadWhole) {
  configure("extents=off\n");
  const auto source = open();
  ASSERT_OK(source);
  const auto range = ByteRange::make(0, base_.size());
  const auto extents = (*source)->extents(*range, {});
  ASSERT_OK(extents);
  for (const Extent& extent : *extents) EXPECT_EQ(extent.allocation, Allocation::Data);
  const auto bytes = read_all(**source, 8);
  ASSERT_OK(bytes);
  EXPECT_TRUE(*bytes == base_);
}

}  // namespace
}  // namespace vmferry
