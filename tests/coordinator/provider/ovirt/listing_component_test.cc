#include <algorithm>

#include "tests/coordinator/provider/ovirt/ovirt_fixture.h"

namespace vmferry::testing {
namespace {

class OvirtListing : public OvirtComponent {
 protected:
  Listing list(ListingKind kind) {
    Result<Listing> listing = provider->list(kind, {});
    EXPECT_TRUE(listing.ok()) << to_string(listing.error());
    if (!listing.ok()) return {};
    for (const auto& row : listing->rows) EXPECT_EQ(row.size(), listing->columns.size());
    EXPECT_EQ(listing->columns.at(0).name, "id");
    EXPECT_EQ(listing->columns.at(1).name, "name");
    return *std::move(listing);
  }
  // The cell of the row with that name.
  static ListingCell cell(const Listing& listing, const std::string& name,
                          const std::string& column) {
    const auto at = std::ranges::find(listing.columns, column, &ListingColumn::name);
    const auto row = std::ranges::find_if(
        listing.rows, [&](const auto& cells) { return cells.at(1) == ListingCell(name); });
    if (at == listing.columns.end() || row == listing.rows.end()) {
      ADD_FAILURE() << "no " << column << " of " << name;
      return {};
    }
    return row->at(static_cast<std::size_t>(at - listing.columns.begin()));
  }
  static ListingCell text(const std::string& value) { return value; }
  static ListingCell number(std::uint64_t value) { return value; }
};

nlohmann::json rich_bed() {
  return {
      {"clusters", {"East", "West"}},
      {"storage_domains",
       {"fast", {{"name", "slow"}, {"type", "data"}, {"storage", {{"type", "iscsi"}}}}}},
      {"networks",
       {{{"name", "blue"}, {"vlan", 7}, {"vnic_profiles", {"a", "b"}}},
        {{"name", "red"},
         {"vnic_profiles", {{{"name", "vf"}, {"pass_through", {{"mode", "enabled"}}}}}}}}},
      {"vms",
       {{{"name", "web"},
         {"cluster", "West"},
         {"cpu", {{"sockets", 2}, {"cores", 3}, {"threads", 1}}},
         {"memory", 3221225472},
         {"disks",
          {{{"image", "a.img"}, {"alias", "boot"}}, {{"alias", "lun"}, {"storage_type", "lun"}}}}},
        {{"name", "db"}, {"cluster", "East"}, {"status", "up"}}}}};
}

TEST_F(OvirtListing, TellsEveryKindWithTheNamesThatMappingsTake) {
  begin(rich_bed());
  ASSERT_FALSE(HasFatalFailure());
  const Listing vms = list(ListingKind::Vms);
  ASSERT_EQ(vms.rows.size(), 2u);
  EXPECT_EQ(vms.rows[0].at(1), text("db")) << "by name";
  EXPECT_EQ(cell(vms, "web", "cluster"), text("West"));
  EXPECT_EQ(cell(vms, "web", "cpus"), number(6));
  EXPECT_EQ(cell(vms, "web", "memory"), number(3221225472));
  EXPECT_EQ(cell(vms, "db", "status"), text("up"));

  const Listing disks = list(ListingKind::Disks);
  EXPECT_EQ(cell(disks, "boot", "storageDomain"), text("fast"));
  EXPECT_EQ(cell(disks, "boot", "size"), number(4u << 20));
  EXPECT_EQ(cell(disks, "lun", "size"), ListingCell()) << "not known is not zero";

  const Listing networks = list(ListingKind::Networks);
  EXPECT_EQ(cell(networks, "blue", "vlan"), number(7));
  EXPECT_EQ(cell(networks, "red", "vlan"), ListingCell());
  EXPECT_EQ(cell(networks, "blue", "dataCenter"), text("Default"));

  const Listing domains = list(ListingKind::Datastores);
  EXPECT_EQ(cell(domains, "slow", "storage"), text("iscsi"));
  EXPECT_EQ(cell(domains, "fast", "free"), number(std::uint64_t{500} << 30));

  const Listing profiles = list(ListingKind::VnicProfiles);
  ASSERT_EQ(profiles.rows.size(), 3u);
  EXPECT_EQ(profiles.rows[0].at(1), text("blue/a"));
  EXPECT_EQ(cell(profiles, "red/vf", "passThrough"), ListingCell(true));
  EXPECT_EQ(cell(profiles, "blue/b", "passThrough"), ListingCell(false));

  const Listing clusters = list(ListingKind::Clusters);
  EXPECT_EQ(cell(clusters, "East", "version"), text("4.7"));
  EXPECT_EQ(cell(clusters, "West", "biosType"), text("q35_ovmf"));
}

TEST_F(OvirtListing, ReadsManyPagesAndEachMachineOnce) {
  nlohmann::json vms = nlohmann::json::array();
  for (int i = 0; i < 230; ++i) vms.push_back({{"name", fmt::format("vm {:03}", i)}});
  begin({{"vms", vms}});
  ASSERT_FALSE(HasFatalFailure());
  const Listing listing = list(ListingKind::Vms);
  ASSERT_EQ(listing.rows.size(), 230u);
  EXPECT_EQ(listing.rows.front().at(1), text("vm 000"));
  EXPECT_EQ(listing.rows.back().at(1), text("vm 229"));
  EXPECT_EQ(bed->requests("GET", "/vms?"), 3);
}

TEST_F(OvirtListing, AnEmptySourceAndARefusalAreTold) {
  begin({{"vms", nlohmann::json::array()}});
  ASSERT_FALSE(HasFatalFailure());
  EXPECT_TRUE(list(ListingKind::Vms).rows.empty());
  bed->post("/fault", {{"path_regex", "/disks"},
                       {"status", 403},
                       {"body", "<fault><reason>Forbidden</reason></fault>"}});
  const Result<Listing> refused = provider->list(ListingKind::Disks, {});
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().kind(), ErrorKind::PermissionDenied);
}

}  // namespace
}  // namespace vmferry::testing
