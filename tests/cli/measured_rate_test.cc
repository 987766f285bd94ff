#include "cli/measured_rate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/bytes.h"

namespace vmferry::cli {
namespace {

api::VirtualMachineImport ended(const std::string& name, const std::string& created,
                                const std::string& succeeded, std::uint64_t moved,
                                const std::string& status = "True") {
  api::VirtualMachineImport import;
  import.object = kube::Object(nlohmann::json{
      { "metadata",
        { {"name", name},
          {"namespace", "n"},
          { "creationTimestamp",
            created } } }});
  import.spec.vmware = api::SourceSection{};
  api::Condition condition;
  condition.type = "Succeeded";
  condition.status = status;
  condition.last_transition_time = succeeded;
  import.status.conditions.push_back(condition);
  import.status.disks.emplace_back();
  import.status.disks.back().moved_bytes = moved;
  return import;
}

TEST(MeasuredRateTest, TheLatestImportThatTellsEnoughCounts) {
  const std::vector<api::VirtualMachineImport> imports = {
      ended("new", "2026-01-01T10:00:00Z", "2026-01-01T10:00:20Z", 2 * kGiB),
      ended("old", "2026-01-01T09:00:00Z", "2026-01-01T09:00:10Z", 8 * kGiB),
      ended("small", "2026-01-01T11:00:00Z", "2026-01-01T11:00:20Z", kMiB),
      ended("short", "2026-01-01T11:00:00Z", "2026-01-01T11:00:01Z", kGiB),
      ended("failed", "2026-01-01T11:00:00Z", "2026-01-01T11:01:00Z", kGiB, "False")};
  const auto rate = measured_rate(imports, ProviderKind::Vmware);
  ASSERT_TRUE(rate.has_value());
  EXPECT_DOUBLE_EQ(rate->bytes_per_second, 2.0 * kGiB / 20);
  EXPECT_THAT(rate->how, testing::StartsWith("measured: import n/new moved 2.0 GiB"));
  EXPECT_FALSE(measured_rate(imports, ProviderKind::Ovirt).has_value());
  EXPECT_FALSE(measured_rate({}, ProviderKind::Vmware).has_value());
}

}  // namespace
}  // namespace vmferry::cli
