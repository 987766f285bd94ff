#include "coordinator/imports/os_match.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "coordinator/imports/os_maps.h"

// Cases name only the fields that they are about.
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"

namespace vmferry::imports {
namespace {

using nlohmann::json;
using testing::HasSubstr;

kube::Object user_map(const char* key, const char* text) {
  return kube::Object(
      json{{"metadata", {{"namespace", "ns"}, {"name", "os"}}}, {"data", {{key, text}}}});
}

TEST(OsMapsTest, Os01HasTheFullContent) {
  EXPECT_EQ(upstream_guest_os().size(), 6u);
  EXPECT_EQ(upstream_os_info().size(), 84u);
  const OsMaps maps = builtin_os_maps();
  EXPECT_EQ(maps.guestos2common.size(), 6 + added_guest_os().size());
  EXPECT_EQ(maps.osinfo2common.size(), 84 + added_os_info().size());
  for (const OsMapEntry& entry : upstream_os_info()) {
    EXPECT_EQ(maps.osinfo2common.at(std::string(entry.key)), entry.value);
  }
}

TEST(OsMapsTest, Os03And06OverlaysUserMaps) {
  Result<OsMaps> maps =
      overlay_os_maps(builtin_os_maps(), user_map("guestos2common", "Fedora: myfedora\n"));
  ASSERT_TRUE(maps);
  maps = overlay_os_maps(
      *maps, user_map("osinfo2common", "\"rhel_6_9_plus_ppc64\": \"myos\"\nwindows_7: \"\"\n"));
  ASSERT_TRUE(maps);
  EXPECT_EQ(maps->guestos2common.at("Fedora"), "myfedora");
  EXPECT_EQ(maps->guestos2common.at("CentOS Linux"), "centos");
  EXPECT_EQ(maps->osinfo2common.at("rhel_6_9_plus_ppc64"), "myos");
  EXPECT_EQ(maps->osinfo2common.at("windows_8"), "win10");
  EXPECT_FALSE(maps->osinfo2common.contains("windows_7"));
}

TEST(OsMapsTest, Os04And05RefusesWhatIsNoMap) {
  for (const char* key : {"guestos2common", "osinfo2common"}) {  // OS-04, OS-05
    for (const char* text : {"\"Fedora\" = \"myfedora\"", "- a", "a: [b]", "{", "text"}) {
      const Result<OsMaps> maps = overlay_os_maps(builtin_os_maps(), user_map(key, text));
      ASSERT_FALSE(maps) << text;
      EXPECT_THAT(maps.error().message(), HasSubstr("user OS config map 'ns/os', key '"));
    }
  }
}

TEST(OsMatchTest, FindsTheOsOfOvirtVms) {
  struct Case {
    const char* id;
    const char *distribution, *version, *type;
    const char* expected;  // empty: not found
  };
  const OsMaps maps = {
      {{"Red Hat Enterprise Linux Server", "rhel"}, {"Red Hat Enterprise Linux", "rhel"}},
      {{"rhel_6", "rhel6.9"}}};
  const Case cases[] = {
      {"OS-10", "Red Hat Enterprise Linux Server", "7.7", "", "rhel7.7"},
      {"OS-11", "", "", "rhel_6", "rhel6.9"},
      {"OS-12 a", "", "", "linux X", "rhel8.2"},
      {"OS-12 b", "", "", "rhel X", "rhel8.2"},
      {"OS-13 a", "", "", "windows", "win10"},
      {"OS-13 b", "", "", "windows_7", "win10"},
      {"OS-15", "", "", "", ""},
      {"OS-16", "Plan 9", "4", "rhel_6", "rhel6.9"},
      {"OS-17", "Red Hat Enterprise Linux", "8.0", "other_linux", "rhel8.0"},
      {"OS-18", "Red Hat Enterprise Linux", "", "", "rhel"},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.id);
    SourceVm vm{.provider = ProviderKind::Ovirt};
    vm.guest_distribution = c.distribution;
    vm.guest_version = c.version;
    vm.os_type = c.type;
    const Result<std::string> os = find_os(vm, maps);
    EXPECT_EQ(os ? *os : "", c.expected);
    if (!os) {
      EXPECT_EQ(os.error().kind(), ErrorKind::NotFound);
    }
  }
}

TEST(OsMatchTest, FindsTheOsOfVmwareVms) {
  struct Case {
    const char* id;
    const char *reported, *configured, *full_name;
    const char* expected;
  };
  const OsMaps maps = {{}, {{"rhel6Guest", "rhel6.9"}}};
  const Case cases[] = {
      {"OS-20", "rhel6Guest", "x", "", "rhel6.9"},    {"OS-21", "", "rhel6Guest", "", "rhel6.9"},
      {"OS-22 a", "", "", "linux X", "rhel8"},        {"OS-22 b", "", "", "rhel X", "rhel8"},
      {"OS-23 a", "", "", "windows", "windows"},      {"OS-23 b", "", "", "windows_7", "windows"},
      {"OS-25", "invalid", "invalid", "invalid", ""},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.id);
    SourceVm vm{.provider = ProviderKind::Vmware};
    vm.os_type_reported = c.reported;
    vm.os_type = c.configured;
    vm.os_full_name = c.full_name;
    const Result<std::string> os = find_os(vm, maps);
    EXPECT_EQ(os ? *os : "", c.expected);
  }
}

}  // namespace
}  // namespace vmferry::imports
