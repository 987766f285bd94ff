#include "agent/volume.h"

#include <gtest/gtest.h>

#include "agent/mount_table.h"
#include "common/catalogue.h"

namespace vmferry {
namespace {

using Mode = VolumeRules::Mode;

protocol::TargetVolume kubelet_target() {
  protocol::TargetVolume target;
  target.name = "n/claim";
  target.pod_uid = "8f1c2b0a-0000-4000-8000-000000000001";
  target.volume = "pvc-1";
  return target;
}

protocol::TargetVolume mover_target(const std::string& path, bool block = false) {
  protocol::TargetVolume target;
  target.name = "n/claim";
  target.path = path;
  target.mover = true;
  target.block = block;
  return target;
}

TEST(MountTableTest, ReadsLinesWithOptionalFieldsAndEscapes) {
  const auto table = parse_mountinfo(
      "36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 shared:2 - ext3 /dev/root rw\n"
      "37 35 0:43 / /a\\040b\\134 rw - tmpfs tmpfs rw\n"
      "nonsense\n"
      "38 35 98 / /bad rw - ext4 x rw\n");
  ASSERT_EQ(table.size(), 2u);
  EXPECT_EQ(table[0], (MountEntry{36, 98, 0, "/mnt1", "/mnt2", "ext3"}));
  EXPECT_EQ(table[1].mount_point, "/a b\\");
  EXPECT_EQ(table[1].type, "tmpfs");
}

TEST(VolumeRulesTest, AnAgentTakesOnlyTargetsOfItsOwnForm) {
  protocol::TargetVolume path;
  path.path = "/volumes/disk.img";
  protocol::TargetVolume climbing = kubelet_target();
  climbing.pod_uid = "..";
  protocol::TargetVolume nested = kubelet_target();
  nested.volume = "a/b";
  protocol::TargetVolume both = kubelet_target();
  both.path = "/etc";
  const struct {
    const char* name;
    Mode mode;
    protocol::TargetVolume target;
    bool allowed;
  } cases[] = {
      {"a path on one machine", Mode::AnyPath, path, true},
      {"a relative path", Mode::AnyPath, {}, false},
      {"a mover's path elsewhere", Mode::AnyPath, mover_target("/target/a"), false},
      {"a kubelet volume", Mode::Kubelet, kubelet_target(), true},
      {"a path on a node", Mode::Kubelet, path, false},
      {"a kubelet volume with a path", Mode::Kubelet, both, false},
      {"a pod that climbs", Mode::Kubelet, climbing, false},
      {"a volume with a slash", Mode::Kubelet, nested, false},
      {"a mover's own directory", Mode::Mover, mover_target("/target/a"), true},
      {"a mover's own device", Mode::Mover, mover_target("/dev/vmferry/a", true), true},
      {"a directory as a device", Mode::Mover, mover_target("/target/a", true), false},
      {"a mover elsewhere", Mode::Mover, mover_target("/state/a"), false},
      {"a mover that climbs", Mode::Mover, mover_target("/target/.."), false},
      {"a mover further down", Mode::Mover, mover_target("/target/a/b"), false},
      {"a kubelet volume for a mover", Mode::Mover, kubelet_target(), false},
  };
  for (const auto& c : cases) {
    VolumeRules rules;
    rules.mode = c.mode;
    const auto result = check_target(c.target, rules);
    EXPECT_EQ(result.ok(), c.allowed) << c.name;
    if (!result) {
      EXPECT_EQ(result.error().code(), code::kTargetUnsafe) << c.name;
      EXPECT_EQ(result.error().kind(), ErrorKind::InvalidArgument) << c.name;
    }
  }
}

TEST(VolumeRulesTest, AnyPathIsPassedOnAsItIs) {
  protocol::TargetVolume target;
  target.path = "/volumes/disk.img";
  const auto volume = find_volume(target, 1, {});
  ASSERT_TRUE(volume);
  EXPECT_EQ(volume->path, target.path);
  EXPECT_EQ(*hand_over(*volume), "");
}

}  // namespace
}  // namespace vmferry
