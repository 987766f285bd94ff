#include "coordinator/provider/ovirt/time_zones.h"

#include "tests/coordinator/provider/ovirt/rules_scene.h"

namespace vmferry::ovirt {
namespace {

TEST(OvirtTimeZonesTest, Val40AreCompatibleWithUtc) {
  for (const char* zone :
       {"", "Etc/GMT", "Etc/GMT+0", "Etc/UCT", "Etc/UTC", "Etc/Zulu", "Etc/Greenwich", "GMT",
        "GMT0", "GMT+0", "GMT-0", "Greenwich", "Africa/Abidjan", "Africa/Conakry",
        "America/Danmarkshavn", "GMT Standard Time", "Greenwich Standard Time"}) {
    EXPECT_TRUE(is_utc_compatible(zone, some_day())) << zone;
  }
}

TEST(OvirtTimeZonesTest, Val41AreNot) {
  for (const char* zone : {"Etc/GMT+1", "America/New_York", "Australia/Yancowinna",
                           "Africa/El_Aaiun", "America/Scoresbysund", "Antarctica/Troll",
                           "Atlantic/Madeira", "Europe/Belfast", "Europe/London", "Foo/Bar",
                           "FooBar", "FooBar+0", "../../../etc/passwd", "/etc/localtime"}) {
    EXPECT_FALSE(is_utc_compatible(zone, some_day())) << zone;
  }
}

TEST(OvirtTimeZonesTest, BrokenZoneDataIsRefused) {
  const WallTime now = some_day();
  EXPECT_FALSE(is_utc_zone_data("", now));
  EXPECT_FALSE(is_utc_zone_data("TZif2", now));
  std::string huge = "TZif2" + std::string(39, '\xff');
  EXPECT_FALSE(is_utc_zone_data(huge, now));
  EXPECT_FALSE(is_utc_zone_data("TZif2" + std::string(39, '\0'), now));
}

}  // namespace
}  // namespace vmferry::ovirt
