#include "cli/listing_text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "common/bytes.h"

namespace vmferry::cli {
namespace {

using testing::HasSubstr;
using testing::Not;

Listing disks() {
  Listing listing;
  listing.columns = {{.name = "id"},     {.name = "name"},
                     {.name = "vm"},     {.name = "size", .type = CellType::Bytes},
                     {.name = "readBy"}, {.name = "shared", .type = CellType::YesNo, .wide = true}};
  listing.rows = {{"d1", "Hard disk 1", "Web01", 40 * kGiB, "https", false},
                  {"d2", "Hard disk 1", "db[1]", std::monostate(), "none", true}};
  return listing;
}

std::string text(OutputForm form) {
  return listing_text(disks(), ProviderKind::Vmware, ListingKind::Disks, form);
}

TEST(ListingTextTest, TablesShowSizesForPeopleAndDashesForTheUnknown) {
  EXPECT_EQ(text(OutputForm::Table),
            "ID  NAME         VM     SIZE      READ BY\n"
            "d1  Hard disk 1  Web01  40.0 GiB  https\n"
            "d2  Hard disk 1  db[1]  -         none\n");
  EXPECT_THAT(text(OutputForm::Wide), HasSubstr("SHARED"));
  EXPECT_THAT(text(OutputForm::Wide), HasSubstr("yes"));
  EXPECT_EQ(text(OutputForm::Name), "Hard disk 1\nHard disk 1\n");
}

TEST(ListingTextTest, JsonHasBytesAndNull) {
  const auto tree = nlohmann::json::parse(text(OutputForm::Json));
  EXPECT_EQ(tree.at("provider"), "vmware");
  EXPECT_EQ(tree.at("kind"), "disks");
  EXPECT_EQ(tree.at("items").at(0).at("size"), 40 * kGiB);
  EXPECT_EQ(tree.at("items").at(0).at("shared"), false);
  EXPECT_EQ(tree.at("items").at(1).at("size"), nullptr);
  EXPECT_THAT(text(OutputForm::Yaml), HasSubstr("kind: disks"));
  EXPECT_THAT(text(OutputForm::Yaml), HasSubstr("- id: d1"));
}

TEST(ListingTextTest, PatternsFitNamesAndTheVmsOfDisks) {
  struct Case {
    const char* pattern;
    std::size_t rows;
  };
  for (const Case& c : {Case{"", 2}, Case{"*", 2}, Case{"web*", 1}, Case{"WEB0?", 1},
                        Case{"hard*", 2}, Case{"web", 0}, Case{"db\\[1\\]", 1}, Case{"d1", 0}}) {
    EXPECT_EQ(filtered(disks(), c.pattern).rows.size(), c.rows) << c.pattern;
  }
}

TEST(ListingTextTest, KindsMayBeSingularAndUnknownOnesListTheKnown) {
  EXPECT_EQ(*parse_listing_kind("vms"), ListingKind::Vms);
  EXPECT_EQ(*parse_listing_kind("vm"), ListingKind::Vms);
  EXPECT_EQ(*parse_listing_kind("vnicprofile"), ListingKind::VnicProfiles);
  EXPECT_EQ(*parse_listing_kind("storagedomains"), ListingKind::Datastores);
  const auto unknown = parse_listing_kind("hosts");
  ASSERT_FALSE(unknown.ok());
  EXPECT_THAT(unknown.error().message(), HasSubstr("vms, disks, networks, datastores"));
}

TEST(ListingTextTest, TextFromTheSourceCannotMoveTheCursor) {
  Listing listing = disks();
  listing.rows[0][1] = std::string("evil\x1b[2J");
  EXPECT_THAT(listing_text(listing, ProviderKind::Vmware, ListingKind::Disks, OutputForm::Table),
              Not(HasSubstr("\x1b")));
}

}  // namespace
}  // namespace vmferry::cli
