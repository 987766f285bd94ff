#include <grp.h>
#include <linux/capability.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <chrono>
#include <thread>

#include "agent/volume.h"
#include "common/bytes.h"
#include "common/catalogue.h"
#include "tests/agent/mount_bench.h"
#include "tests/support/places.h"
#include "transfer/open_sink.h"

namespace vmferry {
namespace {

constexpr const char* kPod = "8f1c2b0a-0000-4000-8000-000000000001";
constexpr std::uint64_t kDisk = 4 * kMiB;

class VolumeOnANodeTest : public MountBench {
 protected:
  std::string volumes(const std::string& plugin) const {
    return kubelet() + "/pods/" + kPod + "/volumes/" + plugin;
  }
  std::string csi_mount() const { return volumes("kubernetes.io~csi") + "/pv-1/mount"; }
  static protocol::TargetVolume target(bool block = false) {
    protocol::TargetVolume target;
    target.name = "n/claim";
    target.pod_uid = kPod;
    target.volume = "pv-1";
    target.block = block;
    return target;
  }
  VolumeRules rules() const {
    VolumeRules rules;
    rules.mode = VolumeRules::Mode::Kubelet;
    rules.kubelet_root = kubelet();
    return rules;
  }
  Result<FoundVolume> find(bool block = false, std::uint64_t size = kDisk) const {
    return find_volume(target(block), size, rules());
  }
  static void expect_code(const Result<FoundVolume>& found, std::string_view code) {
    ASSERT_FALSE(found) << "accepted: " << found->name;
    EXPECT_EQ(found.error().code(), code) << to_string(found.error());
    EXPECT_TRUE(find_catalogue_entry(code));
  }
  // The kubelet's mapping of a block volume; where the device belongs.
  std::string map_device(const std::string& plugin, const std::string& device) {
    const std::string link = kubelet() + "/pods/" + kPod + "/volumeDevices/" + plugin + "/pv-1";
    make(std::filesystem::path(link).parent_path());
    std::filesystem::create_symlink(device, link);
    return touch(plugin == "kubernetes.io~csi"
                     ? kubelet() + "/plugins/kubernetes.io/csi/volumeDevices/pv-1/dev/" + kPod
                     : kubelet() + "/plugins/" + plugin + "/volumeDevices/pv-1/" + kPod);
  }
};

TEST_F(VolumeOnANodeTest, AFileSystemIsWrittenAndHandedToTheVirtualMachinesUser) {
  const std::string device = loop_device(64);
  if (device.empty()) GTEST_SKIP() << "needs loop devices";
  run("mkfs.ext4 -q " + device);
  mount_device(device, csi_mount());
  const auto found = find();
  ASSERT_TRUE(found) << to_string(found.error());
  EXPECT_EQ(found->name, "n/claim");
  {
    SinkOptions options;
    options.path = found->path;
    options.name = found->name;
    options.size_bytes = kDisk;
    auto sink = open_sink(options);
    ASSERT_TRUE(sink) << to_string(sink.error());
    const std::vector<std::byte> data(kMiB, std::byte{7});
    ASSERT_TRUE((*sink)->write(kMiB, data));
    ASSERT_TRUE((*sink)->finish());
    const auto second = open_sink(options);
    ASSERT_FALSE(second);
    EXPECT_EQ(second.error().code(), code::kTargetBusy);
    EXPECT_NE(second.error().message().find("n/claim/disk.img"), std::string::npos);
    ASSERT_EQ(*hand_over(*found), "");
  }
  struct stat state {};
  ASSERT_EQ(::stat((csi_mount() + "/disk.img").c_str(), &state), 0);
  EXPECT_EQ(state.st_uid, 107u);
  EXPECT_EQ(state.st_gid, 107u);
  EXPECT_EQ(state.st_mode & 07777, 0660u);
  EXPECT_EQ(static_cast<std::uint64_t>(state.st_size), kDisk);
}

// As deploy/daemonset/base/agent.yaml runs it: root with CAP_CHOWN alone, in the group of the
// virtual machines' user.
bool become_a_confined_agent() {
  constexpr gid_t kGroup = 107;
  if (::setgroups(1, &kGroup) != 0) return false;
  struct __user_cap_header_struct header {
    _LINUX_CAPABILITY_VERSION_3, 0
  };
  std::array<struct __user_cap_data_struct, 2> powers{};
  powers[0].effective = powers[0].permitted = 1u << CAP_CHOWN;
  return ::syscall(SYS_capset, &header, powers.data()) == 0;
}

TEST_F(VolumeOnANodeTest, ThePowersThatTheDaemonSetGivesAreEnoughAlsoForAnotherAttempt) {
  mount_tmpfs(csi_mount(), "mode=2770,uid=0,gid=107");  // as the kubelet leaves it for fsGroup 107
  std::filesystem::permissions(kubelet() + "/pods", std::filesystem::perms(0750));
  const auto attempt = [&](bool resume) -> Result<void> {
    const FoundVolume found = TRY(find());
    SinkOptions options;
    options.path = found.path;
    options.name = found.name;
    options.size_bytes = kDisk;
    options.resume = resume;
    const auto sink = TRY(open_sink(options));
    const std::vector<std::byte> data(kMiB, std::byte{7});
    TRY(sink->write(kMiB, data));
    TRY(sink->finish());
    const std::string owner = TRY(hand_over(found));
    if (owner.empty()) return {};
    return Error(ErrorKind::Internal, "not given to 107 but " + owner);
  };
  const pid_t child = ::fork();
  if (child == 0) {
    if (!become_a_confined_agent()) ::_exit(9);
    for (const bool resume : {false, true}) {
      if (const Result<void> done = attempt(resume); !done) {
        std::fprintf(stderr, "%s\n", to_string(done.error()).c_str());
        ::_exit(resume ? 2 : 1);
      }
    }
    ::_exit(0);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
  struct stat state {};
  ASSERT_EQ(::stat((csi_mount() + "/disk.img").c_str(), &state), 0);
  EXPECT_EQ(state.st_uid, 107u);
  EXPECT_EQ(state.st_gid, 107u);
  EXPECT_EQ(state.st_mode & 07777, 0660u);
}

// What an NFS server that squashes root does with the agent's calls: they are nobody's, in the
// agent's other groups (nfsd_setuser). Where it forgets those too, the last one applies.
bool become_squashed(bool with_group) {
  constexpr uid_t kNobody = 65534;
  constexpr gid_t kGroup = 107;
  return ::setgroups(with_group ? 1 : 0, &kGroup) == 0 && ::setgid(kNobody) == 0 &&
         ::setuid(kNobody) == 0;
}

TEST_F(VolumeOnANodeTest, ADiskThatCannotBeGivenAwayGetsTheGroupAndIsNeverForEverybody) {
  for (const bool with_group : {true, false}) {
    SCOPED_TRACE(with_group);
    const std::string mount = csi_mount() + (with_group ? "" : "-2");
    mount_tmpfs(mount, "mode=0777");
    FoundVolume volume;
    volume.fd = UniqueFd(::open(mount.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    volume.name = "n/claim";
    const pid_t child = ::fork();
    if (child == 0) {
      if (!become_squashed(with_group)) ::_exit(9);
      const int disk = ::openat(volume.fd.get(), "disk.img", O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
      if (disk < 0) ::_exit(8);
      const Result<std::string> owner = hand_over(volume);
      ::_exit(!owner ? 7 : owner->empty() ? 1 : *owner == "65534:65534, mode 0660" ? 0 : 6);
    }
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFEXITED(status));
    EXPECT_EQ(WEXITSTATUS(status), with_group ? 1 : 0);
    struct stat state {};
    ASSERT_EQ(::stat((mount + "/disk.img").c_str(), &state), 0);
    EXPECT_EQ(state.st_uid, 65534u);
    EXPECT_EQ(state.st_gid, with_group ? 107u : 65534u);
    EXPECT_EQ(state.st_mode & 07777, 0660u);
  }
}

TEST_F(VolumeOnANodeTest, ALocalVolumeMayBeADirectoryOfTheNodesDisk) {
  const std::string where = make(volumes("kubernetes.io~local-volume") + "/pv-1");
  bind(make(at("disks/one")), where);
  const auto found = find();
  ASSERT_TRUE(found) << to_string(found.error());
}

TEST_F(VolumeOnANodeTest, AMountThatIsNotVisibleIsRefusedBeforeAnythingIsWritten) {
  make(csi_mount());
  expect_code(find(), code::kTargetNotMounted);
  EXPECT_EQ(find().error().kind(), ErrorKind::Unavailable);
  EXPECT_TRUE(std::filesystem::is_empty(csi_mount()));
}

TEST_F(VolumeOnANodeTest, AVolumeThatIsNotThereYetIsWaitedFor) {
  expect_code(find(), code::kTargetNotMounted);
  make(volumes("kubernetes.io~csi"));
  expect_code(find(), code::kTargetNotMounted);
}

TEST_F(VolumeOnANodeTest, SymbolicLinksAreNeverFollowed) {
  mount_tmpfs(at("elsewhere"), "size=64m");
  make(volumes("kubernetes.io~csi") + "/pv-1");
  std::filesystem::create_directory_symlink(at("elsewhere"), csi_mount());
  expect_code(find(), code::kTargetUnsafe);
  std::filesystem::remove_all(kubelet() + "/pods");
  make(kubelet() + "/pods");
  std::filesystem::create_directory_symlink(at("elsewhere"), kubelet() + "/pods/" + kPod);
  expect_code(find(), code::kTargetUnsafe);
}

TEST_F(VolumeOnANodeTest, APartOfTheKubeletsOwnDirectoryIsNoVolume) {
  make(csi_mount());
  bind(make(kubelet() + "/plugins"), csi_mount());
  expect_code(find(), code::kTargetUnsafe);
}

TEST_F(VolumeOnANodeTest, TheWholeNodesDiskIsNoVolume) {
  make(csi_mount());
  bind("/", csi_mount());
  expect_code(find(), code::kTargetUnsafe);
}

TEST_F(VolumeOnANodeTest, AFileSystemThatIsTooSmallOrTooFullIsRefused) {
  mount_tmpfs(csi_mount(), "size=8m");
  expect_code(find(false, 64 * kMiB), code::kTargetTooSmall);
  std::ofstream(csi_mount() + "/other") << std::string(6 << 20, 'x');
  expect_code(find(), code::kTargetFull);
  VolumeRules lenient = rules();
  lenient.overcommit = true;
  EXPECT_TRUE(find_volume(target(), kDisk, lenient));
  // What an earlier attempt wrote is room for the same disk.
  std::filesystem::rename(csi_mount() + "/other", csi_mount() + "/disk.img");
  EXPECT_TRUE(find());
}

TEST_F(VolumeOnANodeTest, AReadOnlyMountIsRefused) {
  mount_tmpfs(csi_mount(), "size=8m");
  ASSERT_EQ(::mount(nullptr, csi_mount().c_str(), nullptr, MS_REMOUNT | MS_RDONLY, nullptr), 0);
  expect_code(find(), code::kTargetUnsafe);
}

TEST_F(VolumeOnANodeTest, ABlockDeviceIsFoundWhereTheKubeletMountedItsNode) {
  const std::string device = loop_device(8);
  if (device.empty()) GTEST_SKIP() << "needs loop devices";
  for (const char* plugin : {"kubernetes.io~csi", "kubernetes.io~local-volume"}) {
    std::filesystem::remove_all(kubelet() + "/pods");
    bind(device, map_device(plugin, "/dev/no-such-name"));
    const auto found = find(true);
    ASSERT_TRUE(found) << plugin << ": " << to_string(found.error());
    SinkOptions options;
    options.path = found->path;
    options.size_bytes = kDisk;
    auto sink = open_sink(options);
    ASSERT_TRUE(sink) << to_string(sink.error());
    const std::vector<std::byte> data(kMiB, std::byte{9});
    ASSERT_TRUE((*sink)->write(0, data));
    ASSERT_TRUE((*sink)->finish());
    EXPECT_EQ(*hand_over(*found), "");
    options.size_bytes = 9 * kMiB;
    sink->reset();
    const auto small = open_sink(options);
    ASSERT_FALSE(small);
    EXPECT_EQ(small.error().code(), code::kTargetTooSmall);
  }
}

TEST_F(VolumeOnANodeTest, ADeviceWhoseNodeIsNotVisibleIsRefused) {
  expect_code(find(true), code::kTargetNotMounted);
  map_device("kubernetes.io~csi", "/dev/null");  // the empty file that it is mounted onto
  expect_code(find(true), code::kTargetNotMounted);
}

TEST_F(VolumeOnANodeTest, ADeviceThatSomethingIsMountedFromIsRefused) {
  const std::string device = loop_device(16);
  if (device.empty()) GTEST_SKIP() << "needs loop devices";
  run("mkfs.ext4 -q " + device);
  mount_device(device, at("in-use"));
  bind(device, map_device("kubernetes.io~csi", device));
  expect_code(find(true), code::kTargetUnsafe);
}

class MoverTest : public VolumeOnANodeTest {
 protected:
  Result<FoundVolume> find_own(const std::string& name, bool block = false) const {
    protocol::TargetVolume target;
    target.name = "n/claim";
    target.mover = true;
    target.block = block;
    target.path = at(block ? "dev/" : "target/") + name;
    VolumeRules rules;
    rules.mode = VolumeRules::Mode::Mover;
    rules.mover_root = at("target");
    rules.mover_devices = at("dev");
    return find_volume(target, kDisk, rules);
  }
};

TEST_F(MoverTest, WritesToTheClaimsOfItsOwnPod) {
  mount_tmpfs(at("target/a"), "size=64m");
  const auto found = find_own("a");
  ASSERT_TRUE(found) << to_string(found.error());
  const std::string device = loop_device(8);
  if (device.empty()) GTEST_SKIP() << "needs loop devices";
  bind(device, touch(at("dev/b")));
  EXPECT_TRUE(find_own("b", true));
}

// A mover's container: no power, user 107, and of the node's groups only those of its pod.
TEST_F(MoverTest, OpensADeviceAsAMemberOfItsGroupAndElseSaysWhatToDo) {
  const std::string device = loop_device(8);
  if (device.empty()) GTEST_SKIP() << "needs loop devices";
  bind(device, touch(at("dev/b")));
  std::filesystem::permissions(at("."), std::filesystem::perms(0755));
  ASSERT_EQ(::chown(device.c_str(), 0, 6), 0);
  ASSERT_EQ(::chmod(device.c_str(), 0660), 0);
  const auto code_as = [&](const std::vector<gid_t>& groups) {
    const pid_t child = ::fork();
    if (child == 0) {
      if (::setgroups(groups.size(), groups.data()) != 0 || ::setresgid(107, 107, 107) != 0 ||
          ::setresuid(107, 107, 107) != 0) {
        ::_exit(9);
      }
      const auto found = find_own("b", true);
      if (!found) ::_exit(8);
      SinkOptions options;
      options.path = found->path;
      options.name = found->name;
      options.size_bytes = kDisk;
      const auto sink = open_sink(options);
      if (sink) ::_exit(0);
      ::_exit(sink.error().code() == code::kTargetDenied &&
                      sink.error().kind() == ErrorKind::Unavailable
                  ? 1
                  : 7);
    }
    int status = 0;
    return ::waitpid(child, &status, 0) == child && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  };
  EXPECT_EQ(code_as({}), 1);
  EXPECT_EQ(code_as({6}), 0);
  EXPECT_TRUE(find_catalogue_entry(code::kTargetDenied));
}

TEST_F(MoverTest, RefusesItsOwnContainersFileSystem) {
  make(at("target/a"));
  expect_code(find_own("a"), code::kTargetNotMounted);
  expect_code(find_own("b"), code::kTargetNotMounted);
  touch(at("dev/c"));
  expect_code(find_own("c", true), code::kTargetNotMounted);
}

TEST(HoldTest, EndsAtOnceWhenAsked) {
  const std::string program = testing::build_dir() + "/vmferry-agent";
  if (::access(program.c_str(), X_OK) != 0) GTEST_SKIP() << "needs the program vmferry-agent";
  const pid_t child = ::fork();
  if (child == 0) {
    ::execl(program.c_str(), program.c_str(), "hold", nullptr);
    ::_exit(127);
  }
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, WNOHANG), 0) << "it holds until it is told to end";
  ::kill(child, SIGTERM);
  const auto asked = std::chrono::steady_clock::now();
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_LT(std::chrono::steady_clock::now() - asked, std::chrono::seconds(1));
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

}  // namespace
}  // namespace vmferry
