#include "coordinator/api/config.h"

#include <gtest/gtest.h>

namespace vmferry::api {
namespace {

using nlohmann::json;

ControllerConfig parsed(const json& data) {
  return parse_controller_config(kube::Object(json{{"data", data}}), std::nullopt, std::nullopt);
}

TEST(ConfigTest, Api01ReturnsTheOsConfigMapVerbatim) {
  const ControllerConfig config =
      parsed({{"osConfigMap.name", "os-map"}, {"osConfigMap.namespace", "there"}});
  EXPECT_EQ(config.os_config_map_name, "os-map");
  EXPECT_EQ(config.os_config_map_namespace, "there");
}

TEST(ConfigTest, Api02HasDefaultsForAnEmptyOrMissingMap) {
  for (const ControllerConfig& config :
       {parsed(json::object()), parsed(nullptr),
        parse_controller_config(std::nullopt, std::nullopt, std::nullopt)}) {
    EXPECT_EQ(config.warm_max_failures, 10);
    EXPECT_EQ(config.warm_consecutive_failures, 5);
    EXPECT_EQ(config.warm_interval_minutes, 60);
    EXPECT_FALSE(config.import_without_template);
    EXPECT_EQ(config.os_config_map_name, "");
    EXPECT_EQ(config.os_config_map_namespace, "");
  }
}

TEST(ConfigTest, ReadsIntegers) {
  const struct {
    const char* name;
    const char* text;
    int expected;
  } cases[] = {
      {"plain", "7", 7},
      {"API-03: not a number", "abc", 10},
      {"API-04: negative", "-3", 0},
      {"plus sign", "+4", 4},
      {"trailing text", "4x", 10},
      {"empty", "", 10},
      {"too large", "99999999999999999999", 10},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    EXPECT_EQ(parsed({{"warmImport.maxFailures", c.text}}).warm_max_failures, c.expected);
  }
}

TEST(ConfigTest, Api05ReadsBooleansAsTheListSays) {
  for (const char* text : {"1", "t", "T", "TRUE", "true", "True"}) {
    EXPECT_TRUE(parsed({{"importWithoutTemplate", text}}).import_without_template) << text;
  }
  for (const char* text : {"0", "f", "False", "yes", "on", "tRUE", ""}) {
    EXPECT_FALSE(parsed({{"importWithoutTemplate", text}}).import_without_template) << text;
  }
}

TEST(ConfigTest, Api06AChangedMapGivesTheNewValues) {
  EXPECT_EQ(parsed({{"warmImport.intervalMinutes", "5"}}).warm_interval_minutes, 5);
  EXPECT_EQ(parsed({{"warmImport.intervalMinutes", "6"}}).warm_interval_minutes, 6);
}

TEST(ConfigTest, ReadsSeverityOverrides) {
  const ControllerConfig config = parsed({{"severity.vm.timezone", "block"},
                                          {"severity.vm.status", " warn\n"},
                                          {"severity.vm.origin", "never"},
                                          {"timeZoneBlocks", "true"}});
  EXPECT_EQ(config.severity_overrides,
            (std::map<std::string, std::string>{{"vm.timezone", "block"}, {"vm.status", "warn"}}));
  EXPECT_TRUE(config.time_zone_blocks);
}

TEST(ConfigTest, FindsTheFeatureGateByItsWholeName) {
  const struct {
    const char* name;
    const char* gates;
    bool expected;
  } cases[] = {
      {"API-10", "ImportWithoutTemplate", true},
      {"API-11", "ImportWithoutTemplate,LiveMigration,Bar", true},
      {"API-12", "", false},
      {"API-13", "Foo,Bar", false},
      {"API-14", " DataVolumes, ImportWithoutTemplate ", true},
      {"API-15", "NotImportWithoutTemplateReally", false},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    const kube::Object map(json{{"data", {{"feature-gates", c.gates}}}});
    EXPECT_EQ(parse_controller_config(std::nullopt, map, std::nullopt).import_without_template,
              c.expected);
  }
}

TEST(ConfigTest, FindsTheFeatureGateInTheKubeVirtResource) {
  const auto gate = [](const json& gates) {
    const kube::Object kubevirt(json{
        {"spec", {{"configuration", {{"developerConfiguration", {{"featureGates", gates}}}}}}}});
    return parse_controller_config(std::nullopt, std::nullopt, kubevirt).import_without_template;
  };
  EXPECT_TRUE(gate({"LiveMigration", "ImportWithoutTemplate"}));
  EXPECT_FALSE(gate({"ImportWithoutTemplates"}));
  EXPECT_FALSE(gate("ImportWithoutTemplate"));
  EXPECT_FALSE(gate(nullptr));
}

}  // namespace
}  // namespace vmferry::api
