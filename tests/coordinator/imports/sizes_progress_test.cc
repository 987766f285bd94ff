#include <gtest/gtest.h>

#include "coordinator/imports/progress.h"
#include "coordinator/imports/sizes.h"

// Cases name only the fields that they are about.
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"

namespace vmferry::imports {
namespace {

TEST(SizesTest, ComputesClaimSizes) {
  struct Case {
    std::uint64_t disk, none, usual, tenth;
  };
  // mapping-ovirt 6.2, all vectors.
  const Case cases[] = {
      {1, 1048576, 1109605, 1165085},
      {50331648, 50331648, 53261004, 55924054},
      {1073741824, 1073741824, 1136234735, 1193046472},
      {1073741825, 1074790400, 1137344339, 1194211556},
      {2147483648, 2147483648, 2272469469, 2386092943},
      {10737418240, 10737418240, 11362347344, 11930464712},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.disk);
    EXPECT_EQ(claim_size(c.disk, 0, false), c.none);
    EXPECT_EQ(claim_size(c.disk, 0.055, false), c.usual);
    EXPECT_EQ(claim_size(c.disk, 0.1, false), c.tenth);
    EXPECT_EQ(claim_size(c.disk, 0.1, true), c.none);
  }
  EXPECT_GE(claim_size(~std::uint64_t{0}, 0.055, false), ~std::uint64_t{0} - (1 << 20));
}

TEST(SizesTest, Ov71And72TheClassOverheadComesBeforeTheGlobalOne) {
  ClusterFacts facts;
  facts.overhead_global = 0.055;
  EXPECT_EQ(overhead_for(facts, "any"), 0);  // claims are files of exact size
  facts.overhead_known = true;
  EXPECT_EQ(overhead_for(facts, "any"), 0.055);  // OV-71
  facts.overhead_global = 0;
  facts.overhead_by_class["fast"] = 0.055;
  EXPECT_EQ(claim_size(1073741824, overhead_for(facts, "fast"), false), 1136234735u) << "OV-72";
}

TEST(ProgressTest, InterpolatesPercentages) {
  using Percent = std::vector<std::optional<double>>;
  struct Case {
    const char* id;
    Percent percent;
    std::size_t disks;
    int upstream, design, design_conversion;
  };
  const Case cases[] = {
      {"LC-60", {0}, 1, 10, 40, 40},
      {"LC-61", {0, 0}, 2, 10, 40, 40},
      {"LC-62", {100, 100}, 2, 75, 90, 80},
      {"LC-63", {50, 50}, 2, 42, 65, 60},
      {"LC-64", {50, 100}, 2, 58, 77, 70},
      {"LC-65", {100}, 1, 75, 90, 80},
      {"LC-66", {25, 60}, 2, 37, 61, 57},
      {"LC-67", {50}, 2, 26, 52, 50},
      {"LC-68", {std::nullopt}, 1, 10, 40, 40},
      {"LC-69", {33.33, 33.33, 33.33}, 3, 31, 56, 53},
      {"no disks", {}, 0, 75, 90, 80},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.id);
    EXPECT_EQ(copy_progress_of_percentages(upstream_profile(), c.percent, c.disks), c.upstream);
    EXPECT_EQ(copy_progress_of_percentages(design_profile(false), c.percent, c.disks), c.design);
    EXPECT_EQ(copy_progress_of_percentages(design_profile(true), c.percent, c.disks),
              c.design_conversion);
  }
}

TEST(ProgressTest, InterpolatesBytes) {
  EXPECT_EQ(copy_progress(design_profile(false), 0, 100), 40);
  EXPECT_EQ(copy_progress(design_profile(false), 50, 100), 65);
  EXPECT_EQ(copy_progress(design_profile(true), 99, 100), 79);
  EXPECT_EQ(copy_progress(design_profile(false), 7, 0), 90);
  EXPECT_EQ(copy_progress(design_profile(false), ~std::uint64_t{0} / 2, ~std::uint64_t{0}), 65 - 1);
}

TEST(ProgressTest, Lc70IsOnlyRaised) {
  EXPECT_EQ(raised_progress("40", 41), 41);
  EXPECT_EQ(raised_progress("40", 40), std::nullopt);
  EXPECT_EQ(raised_progress("40", 30), std::nullopt);
  EXPECT_EQ(raised_progress("rubbish", 1), 1);
  EXPECT_EQ(raised_progress(std::nullopt, 0), 0);
  EXPECT_EQ(raised_progress("99", 400), 100);
}

}  // namespace
}  // namespace vmferry::imports
