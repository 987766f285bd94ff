#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "coordinator/provider/provider.h"
#include "coordinator/provider/vmware/client.h"
#include "coordinator/provider/vmware/listing.h"
#include "tests/support/vcsim_fixture.h"

namespace vmferry {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;
using testing::VcsimBed;

constexpr std::uint64_t kMib = 1 << 20;
constexpr int kCrowd = 30;

json inventory() {
  json vms =
      json::array({{{"name", "web"},
                    {"uuid", "4210a0b1-c2d3-e4f5-0617-2839405a6b7c"},
                    {"folder", "prod/web tier/blue"},
                    {"guest_id", "rhel8_64Guest"},
                    {"cpus", 4},
                    {"memory_mb", 2048},
                    {"disks",
                     {{{"size_bytes", 4 * kMib}, {"controller", "pvscsi"}},
                      {{"size_bytes", 2 * kMib}, {"controller", "sata"}}}},
                    {"nics", {{{"network", "VM Network"}}}}},
                   {{"name", "running"}, {"power", "on"}, {"disks", {{{"size_bytes", kMib}}}}},
                   {{"name", "a/b%c"}, {"folder", "odd"}},
                   {{"name", "twin"}, {"folder", "one"}, {"disks", {{{"size_bytes", kMib}}}}},
                   {{"name", "twin"}, {"folder", "two"}, {"disks", {{{"size_bytes", kMib}}}}}});
  for (int i = 0; i < kCrowd; ++i) {
    vms.push_back({{"name", fmt::format("crowd-{:02}", i)},
                   {"folder", fmt::format("crowd/{}", i % 3)},
                   {"disks", {{{"size_bytes", kMib}}}}});
  }
  return {{"datacenter", "Site A/DC (main)"}, {"vms", vms}};
}

std::string text(const ListingCell& cell) {
  if (const auto* value = std::get_if<std::string>(&cell)) return *value;
  if (const auto* value = std::get_if<std::uint64_t>(&cell)) return std::to_string(*value);
  if (const auto* value = std::get_if<bool>(&cell)) return *value ? "yes" : "no";
  return "";
}

std::string cell(const Listing& listing, const std::vector<ListingCell>& row,
                 const std::string& column) {
  const auto found = std::ranges::find(listing.columns, column, &ListingColumn::name);
  if (found == listing.columns.end()) return "no column " + column;
  return text(row.at(static_cast<std::size_t>(found - listing.columns.begin())));
}

class VmwareListingTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    if (!VcsimBed::missing().empty()) return;
    VcsimBed::Options options;
    options.inventory = inventory();
    options.flags = {"--page", "7"};
    bed_ = VcsimBed::start(std::move(options));
  }
  static void TearDownTestSuite() { bed_.reset(); }

  void SetUp() override {
    if (const std::string reason = VcsimBed::missing(); !reason.empty()) GTEST_SKIP() << reason;
    ASSERT_NE(bed_, nullptr);
    bed_->post("/fault", {{"clear", true}});
  }

  static ProviderCredentials credentials() {
    ProviderCredentials c;
    c.kind = ProviderKind::Vmware;
    c.api_url = bed_->url();
    c.username = bed_->user();
    c.password = SecretString(bed_->password());
    c.thumbprint = bed_->sha1();
    return c;
  }

  Listing list(ListingKind kind) {
    auto provider = make_vmware_provider(credentials(), Logger());
    EXPECT_TRUE(provider.ok());
    auto listing = (*provider)->list(kind, {});
    EXPECT_TRUE(listing.ok()) << (listing.ok() ? "" : to_string(listing.error()));
    return listing.ok() ? *std::move(listing) : Listing{};
  }

  // The row whose `column` reads so.
  const std::vector<ListingCell>& row(const Listing& listing, const std::string& column,
                                      const std::string& value) {
    for (const auto& each : listing.rows) {
      if (cell(listing, each, column) == value) return each;
    }
    ADD_FAILURE() << "no row with " << column << " " << value;
    static const std::vector<ListingCell> none(32);
    return none;
  }

  static std::unique_ptr<VcsimBed> bed_;
};

std::unique_ptr<VcsimBed> VmwareListingTest::bed_;

TEST_F(VmwareListingTest, EveryListingKeepsTheContract) {
  for (const ListingKind kind :
       {ListingKind::Vms, ListingKind::Disks, ListingKind::Networks, ListingKind::Datastores}) {
    const Listing listing = list(kind);
    SCOPED_TRACE(to_string(kind));
    ASSERT_GE(listing.columns.size(), 3u);
    EXPECT_EQ(listing.columns[0].name, "id");
    EXPECT_EQ(listing.columns[1].name, "name");
    EXPECT_FALSE(listing.rows.empty());
    std::set<std::string> ids;
    for (const auto& each : listing.rows) {
      EXPECT_EQ(each.size(), listing.columns.size());
      EXPECT_TRUE(ids.insert(text(each[0])).second) << text(each[0]) << " stands there twice";
    }
    EXPECT_TRUE(std::ranges::is_sorted(listing.rows, {}, [](const auto& each) {
      return std::pair(text(each[1]), text(each[0]));
    }));
  }
}

TEST_F(VmwareListingTest, VmsOfNestedFoldersComeWithTheirPathsOverSeveralPages) {
  const Listing listing = list(ListingKind::Vms);
  EXPECT_EQ(listing.rows.size(), 5u + kCrowd);
  const auto& web = row(listing, "path", "Site A/DC (main)/vm/prod/web tier/blue/web");
  EXPECT_EQ(cell(listing, web, "id"), bed_->vm("web").at("moref").get<std::string>());
  EXPECT_EQ(cell(listing, web, "name"), "web");
  EXPECT_EQ(cell(listing, web, "power"), "down");
  EXPECT_EQ(cell(listing, web, "cpus"), "4");
  EXPECT_EQ(cell(listing, web, "memory"), std::to_string(2048 * kMib));
  EXPECT_EQ(cell(listing, web, "disks"), "2");
  EXPECT_EQ(cell(listing, web, "uuid"), "4210a0b1-c2d3-e4f5-0617-2839405a6b7c");
  EXPECT_FALSE(cell(listing, web, "cluster").empty());
  EXPECT_FALSE(cell(listing, web, "host").empty());
  EXPECT_EQ(cell(listing, row(listing, "name", "running"), "power"), "up");
  row(listing, "path", "Site A/DC (main)/vm/one/twin");
  row(listing, "path", "Site A/DC (main)/vm/two/twin");
  row(listing, "name", "a/b%c");
}

TEST_F(VmwareListingTest, APathFromTheListingFindsTheVm) {
  auto provider = make_vmware_provider(credentials(), Logger());
  ASSERT_TRUE(provider.ok());
  const auto listing = (*provider)->list(ListingKind::Vms, {});
  ASSERT_TRUE(listing.ok());
  for (const char* name : {"web", "twin", "crowd-17"}) {
    const auto& each = row(*listing, "name", name);
    VmRef ref;
    ref.name = cell(*listing, each, "path");
    const auto vm = (*provider)->find_vm(ref, {});
    ASSERT_TRUE(vm.ok()) << to_string(vm.error());
    EXPECT_EQ(vm->native_id, cell(*listing, each, "id"));
    EXPECT_EQ(vm->inventory_path, ref.name);
  }
}

TEST_F(VmwareListingTest, DisksHaveTheIdsThatMappingsMatch) {
  auto provider = make_vmware_provider(credentials(), Logger());
  ASSERT_TRUE(provider.ok());
  const auto listing = (*provider)->list(ListingKind::Disks, {});
  ASSERT_TRUE(listing.ok());
  VmRef ref;
  ref.name = "web";
  const auto vm = (*provider)->find_vm(ref, {});
  ASSERT_TRUE(vm.ok());
  ASSERT_EQ(vm->disks.size(), 2u);
  for (const SourceDisk& disk : vm->disks) {
    const auto& each = row(*listing, "id", disk.id);
    EXPECT_EQ(cell(*listing, each, "name"), disk.name);
    EXPECT_EQ(cell(*listing, each, "vm"), "web");
    EXPECT_EQ(cell(*listing, each, "size"), std::to_string(disk.size_bytes));
    EXPECT_EQ(cell(*listing, each, "datastore"), disk.storage_name);
    EXPECT_EQ(cell(*listing, each, "file"), disk.file);
    EXPECT_EQ(cell(*listing, each, "readBy"), "https");
    EXPECT_EQ(cell(*listing, each, "readByWhy"),
              "flat file, read over HTTPS with ranges; or VDDK, if an agent of the import has it");
    EXPECT_EQ(cell(*listing, each, "vmPath"), vm->inventory_path);
    if (disk.allocated_bytes) {
      EXPECT_EQ(cell(*listing, each, "allocated"), std::to_string(*disk.allocated_bytes));
    }
  }
  EXPECT_THAT(cell(*listing, row(*listing, "id", vm->disks[0].id), "controller"),
              HasSubstr("ParaVirtualSCSIController"));
}

TEST_F(VmwareListingTest, NetworksTellTheirKindAndTheIdsThatMappingsMatch) {
  const Listing listing = list(ListingKind::Networks);
  const auto& standard = row(listing, "name", "VM Network");
  EXPECT_EQ(cell(listing, standard, "kind"), "standard");
  EXPECT_EQ(cell(listing, standard, "datacenter"), "Site A/DC (main)");
  EXPECT_EQ(cell(listing, standard, "path"), "Site A/DC (main)/network/VM Network");
  const auto& distributed = row(listing, "name", "DC0_DVPG0");
  EXPECT_EQ(cell(listing, distributed, "kind"), "distributed");
  EXPECT_FALSE(cell(listing, distributed, "key").empty());
}

TEST_F(VmwareListingTest, DatastoresTellTheirRoom) {
  const Listing listing = list(ListingKind::Datastores);
  const auto& store = row(listing, "name", "LocalDS_0");
  EXPECT_EQ(cell(listing, store, "type"), "VMFS");
  EXPECT_EQ(cell(listing, store, "accessible"), "yes");
  EXPECT_GT(std::stoull("0" + cell(listing, store, "capacity")), 0u);
  EXPECT_THAT(cell(listing, store, "path"), HasSubstr("Site A/DC (main)/datastore/"));
}

TEST_F(VmwareListingTest, KindsOfOvirtAreRefused) {
  auto provider = make_vmware_provider(credentials(), Logger());
  ASSERT_TRUE(provider.ok());
  for (const ListingKind kind : {ListingKind::VnicProfiles, ListingKind::Clusters}) {
    const auto listing = (*provider)->list(kind, {});
    ASSERT_FALSE(listing.ok());
    EXPECT_EQ(listing.error().kind(), ErrorKind::InvalidArgument);
  }
}

TEST_F(VmwareListingTest, TooManyRowsAreAnErrorAndNotATruncatedTable) {
  auto options = vmware::client_options(credentials());
  ASSERT_TRUE(options.ok());
  vmware::Client client(*options, Logger());
  const auto listing = client.in_session({}, [](vmware::Exchange& exchange) {
    return vmware::list_inventory(exchange, ListingKind::Vms, 10);
  });
  ASSERT_FALSE(listing.ok());
  EXPECT_EQ(listing.error().kind(), ErrorKind::ResourceExhausted);
}

TEST_F(VmwareListingTest, ASessionLostInTheMiddleIsReplacedAndTheListIsWhole) {
  bed_->post("/fault", {{"method", "ContinueRetrievePropertiesEx"},
                        {"fault", "NotAuthenticated"},
                        {"skip", 2},
                        {"times", 1}});
  EXPECT_EQ(list(ListingKind::Vms).rows.size(), 5u + kCrowd);
}

TEST_F(VmwareListingTest, NeitherViewsNorSessionsStayBehind) {
  const json before = bed_->state();
  list(ListingKind::Disks);
  const json after = bed_->state();
  const auto made = [&](const char* method) {
    return after["calls"].value(method, 0) - before["calls"].value(method, 0);
  };
  EXPECT_GT(made("CreateContainerView"), 0);
  EXPECT_EQ(made("CreateContainerView"), made("DestroyView"));
  EXPECT_EQ(made("Login"), 1);
  EXPECT_EQ(made("Logout"), 1);
  EXPECT_EQ(after["sessions"], before["sessions"]);
}

TEST_F(VmwareListingTest, AStopEndsTheListing) {
  auto provider = make_vmware_provider(credentials(), Logger());
  ASSERT_TRUE(provider.ok());
  std::stop_source stop;
  stop.request_stop();
  const auto listing = (*provider)->list(ListingKind::Vms, stop.get_token());
  ASSERT_FALSE(listing.ok());
  EXPECT_EQ(listing.error().kind(), ErrorKind::Canceled);
}

}  // namespace
}  // namespace vmferry
