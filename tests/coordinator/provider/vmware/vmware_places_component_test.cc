// Where VMs, disks and networks are: several data centres, folders, resource pools, vApps, a host.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <thread>

#include "common/catalogue.h"
#include "common/http_client.h"
#include "coordinator/provider/provider.h"
#include "tests/support/vcsim_fixture.h"

namespace vmferry {
namespace {

using nlohmann::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::VcsimBed;

constexpr std::uint64_t kMib = 1 << 20;

#define ASSERT_OK(result) \
  ASSERT_TRUE((result).ok()) << ((result).ok() ? "" : to_string((result).error()))

// A disk all of whose bytes are one letter.
class Image {
 public:
  explicit Image(char letter) {
    std::string pattern = std::filesystem::temp_directory_path() / "vmferry-image-XXXXXX";
    const int file = mkstemp(pattern.data());
    path_ = pattern;
    std::ofstream(path_) << std::string(kMib, letter);
    if (file >= 0) ::close(file);
  }
  ~Image() { std::filesystem::remove(path_); }
  Image(const Image&) = delete;
  Image& operator=(const Image&) = delete;
  json disk() const { return {{"size_bytes", kMib}, {"image", path_}}; }

 private:
  std::string path_;
};

VmRef by_name(std::string name) {
  VmRef ref;
  ref.name = std::move(name);
  return ref;
}
VmRef by_id(std::string id) {
  VmRef ref;
  ref.id = std::move(id);
  return ref;
}

std::string text(const ListingCell& cell) {
  if (const auto* value = std::get_if<std::string>(&cell)) return *value;
  return "";
}

// What stands in the column of each row, in the order of the rows.
std::vector<std::string> column(const Listing& listing, std::string_view name) {
  const auto found = std::ranges::find(listing.columns, name, &ListingColumn::name);
  EXPECT_NE(found, listing.columns.end()) << name;
  std::vector<std::string> cells;
  for (const auto& row : listing.rows) {
    cells.push_back(text(row.at(static_cast<std::size_t>(found - listing.columns.begin()))));
  }
  return cells;
}

class VmwarePlacesTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (const std::string reason = VcsimBed::missing(); !reason.empty()) GTEST_SKIP() << reason;
  }
  void start(json inventory) {
    VcsimBed::Options options;
    options.inventory = std::move(inventory);
    bed_ = VcsimBed::start(std::move(options));
    ASSERT_NE(bed_, nullptr);
    ProviderCredentials c;
    c.api_url = bed_->url();
    c.username = bed_->user();
    c.password = SecretString(bed_->password());
    c.thumbprint = bed_->sha256();
    auto made = make_vmware_provider(c, Logger());
    ASSERT_OK(made);
    vmware_ = *std::move(made);
  }

  // The first byte of the VM's first disk, read as an agent would.
  std::string first_byte(const SourceVm& vm) {
    const auto opening = vmware_->open_disk(vm, vm.disks.at(0), "owner", {});
    EXPECT_TRUE(opening.ok()) << to_string(opening.error());
    if (!opening.ok() || !opening->endpoint) return "nothing";
    HttpClient::Options options;
    options.trust = opening->endpoint->trust;
    const auto client = HttpClient::make(std::move(options));
    HttpRequest range;
    range.url = opening->endpoint->url;
    range.cookie = opening->endpoint->cookie;
    range.headers = {{"Range", "bytes=0-0"}};
    const auto bytes = (*client)->send(range, {});
    return bytes.ok() ? bytes->body : bytes.error().message();
  }

  std::unique_ptr<VcsimBed> bed_;
  std::unique_ptr<Provider> vmware_;
};

TEST_F(VmwarePlacesTest, OneNameInTwoDataCentresIsToldApartAndReadFromItsOwnDatastore) {
  const Image first('1');
  const Image second('2');
  start({{"others", {{{"datacenter", "Site B/DC (2)"}, {"datastore", "LocalDS_0"}}}},
         {"vms",
          {{{"name", "web"}, {"folder", "prod/blue"}, {"disks", {first.disk()}}},
           {{"name", "web"},
            {"datacenter", "Site B/DC (2)"},
            {"folder", "prod/blue"},
            {"disks", {second.disk()}}}}}});
  for (const VmRef& ref : {by_name("web"), by_name("prod/blue/web")}) {
    const auto ambiguous = vmware_->find_vm(ref, {});
    ASSERT_FALSE(ambiguous.ok());
    EXPECT_EQ(ambiguous.error().code(), code::kVmAmbiguous);
    EXPECT_THAT(ambiguous.error().message(), HasSubstr("DC0/vm/prod/blue/web (vm-"));
    EXPECT_THAT(ambiguous.error().message(), HasSubstr("Site B/DC (2)/vm/prod/blue/web (vm-"));
  }
  const std::pair<const char*, const char*> places[] = {{"DC0/vm/prod/blue/web", "1"},
                                                        {"/Site B/DC (2)/vm/prod/blue/web", "2"}};
  for (const auto& [path, byte] : places) {
    SCOPED_TRACE(path);
    const auto vm = vmware_->find_vm(by_name(path), {});
    ASSERT_OK(vm);
    EXPECT_EQ(first_byte(*vm), byte);
  }
  const auto stores = vmware_->list(ListingKind::Datastores, {});
  ASSERT_OK(stores);
  EXPECT_THAT(column(*stores, "name"), ElementsAre("LocalDS_0", "LocalDS_0"));
  EXPECT_THAT(column(*stores, "path"),
              ::testing::UnorderedElementsAre("DC0/datastore/LocalDS_0",
                                              "Site B/DC (2)/datastore/LocalDS_0"));
  const auto disks = vmware_->list(ListingKind::Disks, {});
  ASSERT_OK(disks);
  EXPECT_THAT(
      column(*disks, "vmPath"),
      ::testing::UnorderedElementsAre("DC0/vm/prod/blue/web", "Site B/DC (2)/vm/prod/blue/web"));
  const auto networks = vmware_->list(ListingKind::Networks, {});
  ASSERT_OK(networks);
  EXPECT_THAT(column(*networks, "datacenter"),
              ::testing::Contains("Site B/DC (2)").Times(::testing::Ge(2)));
}

TEST_F(VmwarePlacesTest, VmsOfNestedPoolsAndVappsAreFoundByEveryPathAndRead) {
  const Image image('v');
  start(
      {{"vms",
        {{{"name", "pooled"}, {"folder", "a/b/c"}, {"pool", "gold/web"}, {"disks", {image.disk()}}},
         {{"name", "boxed"}, {"pool", "gold"}, {"app", "shop"}, {"disks", {image.disk()}}},
         {{"name", "in/out 100%"}, {"pool", "gold"}, {"app", "shop"}}}}});
  const auto listing = vmware_->list(ListingKind::Vms, {});
  ASSERT_OK(listing);
  const std::string app = "DC0/host/DC0_C0/Resources/gold/shop/";
  EXPECT_THAT(column(*listing, "path"),
              ElementsAre(app + "boxed", app + "in/out 100%", "DC0/vm/a/b/c/pooled"));
  EXPECT_THAT(column(*listing, "cluster"), ElementsAre("DC0_C0", "DC0_C0", "DC0_C0"));
  const std::vector<std::string> ids = column(*listing, "id");
  for (std::size_t i = 0; i < ids.size(); ++i) {
    const std::string name = column(*listing, "name")[i];
    const std::string path = column(*listing, "path")[i];
    for (const VmRef& ref : {by_name(name), by_name(path), by_name("/" + path), by_id(ids[i]),
                             by_id(column(*listing, "uuid")[i])}) {
      SCOPED_TRACE(ref.id + ref.name);
      const auto vm = vmware_->find_vm(ref, {});
      ASSERT_OK(vm);
      EXPECT_EQ(vm->native_id, ids[i]);
      EXPECT_EQ(vm->inventory_path, path);
      if (!vm->disks.empty()) {
        EXPECT_EQ(first_byte(*vm), "v");
      }
    }
  }
  const auto other = vmware_->find_vm(by_name("DC0/host/DC0_C0/Resources/silver/shop/boxed"), {});
  ASSERT_FALSE(other.ok());
  EXPECT_EQ(other.error().code(), code::kVmNotFound);
}

TEST_F(VmwarePlacesTest, ALoneHostIsListedSearchedReadAndStopped) {
  const Image image('h');
  start({{"host", true},
         {"vms",
          {{{"name", "lone"},
            {"uuid", "4210a0b1-c2d3-e4f5-0617-2839405a6b7c"},
            {"power", "on"},
            {"tools", "toolsOk"},
            {"shutdown_seconds", 0.05},
            {"disks", {image.disk()}},
            {"nics", {{{"network", "VM Network"}}}}},
           {{"name", "other"}}}}});
  ASSERT_OK(vmware_->check_connection({}));
  const auto listing = vmware_->list(ListingKind::Vms, {});
  ASSERT_OK(listing);
  EXPECT_THAT(column(*listing, "path"),
              ElementsAre("ha-datacenter/vm/lone", "ha-datacenter/vm/other"));
  EXPECT_THAT(column(*listing, "cluster"), ElementsAre("", ""));
  EXPECT_NE(column(*listing, "host")[0], "");
  const auto stores = vmware_->list(ListingKind::Datastores, {});
  ASSERT_OK(stores);
  EXPECT_THAT(column(*stores, "path"), ElementsAre("ha-datacenter/datastore/LocalDS_0"));
  const auto networks = vmware_->list(ListingKind::Networks, {});
  ASSERT_OK(networks);
  EXPECT_THAT(column(*networks, "kind"), ::testing::Each("standard"));
  const auto disks = vmware_->list(ListingKind::Disks, {});
  ASSERT_OK(disks);
  EXPECT_THAT(column(*disks, "vmPath"), ElementsAre("ha-datacenter/vm/lone"));

  for (const VmRef& ref : {by_name("lone"), by_name("ha-datacenter/vm/lone"),
                           by_id("4210a0b1-c2d3-e4f5-0617-2839405a6b7c"),
                           by_id(bed_->vm("lone").at("instance_uuid"))}) {
    SCOPED_TRACE(ref.id + ref.name);
    const auto vm = vmware_->find_vm(ref, {});
    ASSERT_OK(vm);
    EXPECT_EQ(vm->native_id, bed_->vm("lone").at("moref"));
  }
  auto vm = vmware_->find_vm(by_name("lone"), {});
  ASSERT_OK(vm);
  ASSERT_OK(vmware_->request_stop(vm->native_id, false, {}));
  for (int i = 0; i < 400 && *vmware_->power_state(vm->native_id, {}) != PowerState::Down; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(25));
  }
  EXPECT_EQ(first_byte(*vm), "h");
  const auto opening = vmware_->open_disk(*vm, vm->disks[0], "owner", {});
  ASSERT_OK(opening);
  EXPECT_EQ(opening->endpoint->max_connections, 4) << "no vCenter relays the bytes";
  ASSERT_OK(vmware_->start(vm->native_id, {}));
  vmware_->close();
  EXPECT_EQ(bed_->state().at("sessions"), 0);
}

TEST_F(VmwarePlacesTest, Vsrc52AVmThatMovedIsOpenedAgainAndCountsForItsNewHost) {
  const Image image('m');
  start({{"vms", {{{"name", "web"}, {"disks", {image.disk()}}}}}});
  const auto vm = vmware_->find_vm(by_name("web"), {});
  ASSERT_OK(vm);
  const auto before = vmware_->open_disk(*vm, vm->disks[0], "owner", {});
  ASSERT_OK(before);
  EXPECT_EQ(before->source_host, "DC0_C0_H0 of 127.0.0.1");
  bed_->post("/vm", {{"name", "web"}, {"host", "DC0_C0_H1"}});
  const auto after = vmware_->poll_disk(*vm, vm->disks[0], before->handle, {});
  ASSERT_OK(after);
  EXPECT_EQ(after->source_host, "DC0_C0_H1 of 127.0.0.1");
  EXPECT_EQ(after->endpoint->identity, before->endpoint->identity) << "so the copy goes on";
  const auto renewed = vmware_->renew(*vm, vm->disks[0], before->handle, {});
  ASSERT_OK(renewed);
  EXPECT_EQ(renewed->source_host, after->source_host) << "a running copy's budget moves as well";
  EXPECT_EQ(first_byte(*vm), "m");
}

// Every attribute that mapping-vmware.md 4 to 6 maps, as a server tells it.
TEST_F(VmwarePlacesTest, TheHardwareOfAVmIsReadInFull) {
  start({{"utc_offset_seconds", 7200},
         {"opaque", {{{"name", "segment"}, {"id", "segment-77"}}}},
         {"vms",
          {{{"name", "full"},
            {"guest_id", "windows2019srv_64Guest"},
            {"annotation", "the books"},
            {"cpus", 8},
            {"cores_per_socket", 4},
            {"memory_mb", 3072},
            {"firmware", "efi"},
            {"secure_boot", true},
            {"host_name", "WEB1.lab.example"},
            {"extra", {{"config.nestedHVEnabled", "true"}}},
            {"boot_order", {"nic:1", "disk:1", "cdrom"}},
            {"disks",
             {{{"size_bytes", kMib}, {"controller", "pvscsi"}},
              {{"size_bytes", 2 * kMib}, {"controller", "nvme"}, {"label", "Boot"}},
              {{"size_bytes", 3 * kMib}, {"controller", "ide"}}}},
            {"nics",
             {{{"network", "VM Network"}, {"type", "vmxnet2"}, {"mac", "00:50:56:00:00:01"}},
              {{"network", "DC0_DVPG0"}, {"type", "e1000e"}, {"connected", false}},
              {{"network", "segment"}, {"type", "pcnet32"}},
              {{"network", "VM Network"}, {"type", "sriov"}}}}}}}});
  const auto vm = vmware_->find_vm(by_name("full"), {});
  ASSERT_OK(vm);
  EXPECT_EQ(vm->cpu_cores, 4u);
  EXPECT_EQ(vm->cpu_sockets, 2u);
  EXPECT_TRUE(vm->nested_virtualization);
  EXPECT_EQ(vm->memory_bytes, 3072 * kMib);
  EXPECT_EQ(vm->firmware, Firmware::EfiSecureBoot);
  EXPECT_EQ(vm->description, "the books");
  EXPECT_EQ(vm->host_name, "WEB1.lab.example");
  EXPECT_EQ(vm->os_type, "windows2019srv_64Guest");
  EXPECT_EQ(vm->utc_offset_seconds, 7200);
  EXPECT_EQ(vm->machine, "q35");
  EXPECT_EQ(vm->firmware_uuid, bed_->vm("full").at("uuid"));
  EXPECT_EQ(vm->serial, bed_->vm("full").at("instance_uuid"));
  EXPECT_THAT(vm->boot_devices, ElementsAre("network", "disk", "cdrom"));

  ASSERT_EQ(vm->disks.size(), 3u);
  EXPECT_EQ(vm->disks[0].name, "Boot");
  EXPECT_EQ(vm->disks[0].boot_order, 1);
  EXPECT_TRUE(vm->disks[0].bootable);
  for (const SourceDisk& disk : vm->disks) EXPECT_EQ(disk.bus, DiskBus::Sata) << "Windows";
  EXPECT_THAT(vm->disks[0].details.at("controller"), HasSubstr("VirtualNVMEController 0:0"));

  ASSERT_EQ(vm->nics.size(), 4u);
  EXPECT_EQ(vm->nics[0].attachment, NicAttachment::Standard);
  EXPECT_EQ(vm->nics[0].mac, "00:50:56:00:00:01");
  EXPECT_THAT(vm->nics[0].network_names, ElementsAre("VM Network"));
  EXPECT_EQ(vm->nics[1].attachment, NicAttachment::Distributed);
  EXPECT_THAT(vm->nics[1].network_names, ElementsAre("Network adapter 2", "DC0_DVPG0"));
  EXPECT_FALSE(vm->nics[1].connected);
  EXPECT_EQ(vm->nics[2].attachment, NicAttachment::Opaque);
  EXPECT_THAT(vm->nics[2].network_names, ElementsAre("segment", "Network adapter 3"));
  EXPECT_EQ(vm->nics[2].network_ids.at(0), "segment-77");
  EXPECT_FALSE(vm->nics[3].sriov) << "becomes a virtual one";
  for (const SourceNic& nic : vm->nics) EXPECT_EQ(nic.model, "e1000e") << "Windows";
  for (const char* rule : {"vmware.nic.type", "vmware.nic.connected", "vmware.nic.duplicate_name",
                           "vmware.firmware.secureboot", "vmware.vm.nested"}) {
    EXPECT_THAT(vm->findings, ::testing::Contains(::testing::Field(&Finding::rule, rule)));
  }
}

TEST_F(VmwarePlacesTest, Vsrc5WhatTheAccountMayNotReadIsLeftOutAndSaid) {
  start({{"vms", {{{"name", "web"}, {"host_name", "web.example"}, {"annotation", "secret"}}}}});
  bed_->post("/deny", {{"paths", {"config.annotation", "guest.hostName", "config.guestFullName"}}});
  const auto vm = vmware_->find_vm(by_name("web"), {});
  ASSERT_OK(vm);
  EXPECT_EQ(vm->description, "");
  EXPECT_EQ(vm->host_name, "");
  const auto told =
      std::ranges::find(vm->findings, std::string_view("vmware.api.permission"), &Finding::rule);
  ASSERT_NE(told, vm->findings.end());
  EXPECT_EQ(told->level, FindingLevel::Warn);
  EXPECT_THAT(told->text, HasSubstr("guest.hostName"));
  const auto listing = vmware_->list(ListingKind::Vms, {});
  ASSERT_OK(listing);
  EXPECT_THAT(column(*listing, "name"), ElementsAre("web"));
  EXPECT_THAT(column(*listing, "guestOs"), ElementsAre(""));
}

TEST_F(VmwarePlacesTest, Vsrc30ADiskOfSeveralFilesIsReadByItsDescriptor) {
  const Image image('s');
  json disk = image.disk();
  disk["backing"] = "split";
  start({{"vms", {{{"name", "web"}, {"disks", {disk}}}}}});
  const auto vm = vmware_->find_vm(by_name("web"), {});
  ASSERT_OK(vm);
  const auto opening = vmware_->open_disk(*vm, vm->disks[0], "owner", {});
  ASSERT_OK(opening);
  ASSERT_TRUE(opening->endpoint.has_value());
  EXPECT_EQ(opening->endpoint->kind, SourceKind::HttpRange);
  EXPECT_THAT(opening->endpoint->url, HasSubstr("/folder/web/web.vmdk?"));
  EXPECT_EQ(opening->endpoint->size_bytes, kMib);
  bed_->post("/delete-file", {{"path", "web/web-f002.vmdk"}});
  const auto gone = vmware_->open_disk(*vm, vm->disks[0], "owner", {});
  ASSERT_FALSE(gone.ok());
  EXPECT_EQ(gone.error().code(), code::kDiskMissing);
  EXPECT_THAT(gone.error().message(), HasSubstr("web-f002.vmdk"));
}

TEST_F(VmwarePlacesTest, ADiskWhoseFilesAreNotFlatAfterAllIsExported) {
  const Image image('x');
  start({{"vms", {{{"name", "web"}, {"disks", {image.disk()}}}}}});
  const auto vm = vmware_->find_vm(by_name("web"), {});
  ASSERT_OK(vm);
  const std::string flat = bed_->vm("web").at("disks")[0].at("path");
  std::ofstream(std::filesystem::path(flat).parent_path() / "web.vmdk")
      << "# Disk DescriptorFile\nversion=1\nCID=0badcafe\nparentCID=ffffffff\n"
         "createType=\"monolithicSparse\"\nRW 2048 SPARSE \"web-s001.vmdk\"\n";
  auto opening = vmware_->open_disk(*vm, vm->disks[0], "owner", {});
  ASSERT_OK(opening);
  for (int i = 0; i < 400 && !opening->endpoint; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(25));
    opening = vmware_->poll_disk(*vm, vm->disks[0], opening->handle, {});
    ASSERT_OK(opening);
  }
  ASSERT_TRUE(opening->endpoint.has_value());
  EXPECT_EQ(opening->endpoint->kind, SourceKind::VmdkStream);
  EXPECT_THAT(opening->why, HasSubstr("cannot be resumed"));
  ASSERT_OK(vmware_->disk_identity(*vm, vm->disks[0], {}));
  ASSERT_OK(vmware_->release_disk(opening->handle, vm->disks[0].id, "owner", true, {}));
  EXPECT_TRUE(bed_->state().at("leases").at("live").empty());

  SourceDisk flat_only = vm->disks[0];
  flat_only.way = DiskWay::FlatFile;
  const auto refused = vmware_->open_disk(*vm, flat_only, "owner", {});
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code(), code::kDiskUnsupported);
  const auto asked = ::testing::Field(&Finding::rule, "vmware.disk.backing");
  EXPECT_THAT(vm->findings, ::testing::Not(::testing::Contains(asked)));
  VmRef ref = by_name("web");
  ref.ways = {{"*", DiskWay::FlatFile}};
  const auto judged = vmware_->find_vm(ref, {});
  ASSERT_OK(judged);
  ASSERT_THAT(judged->findings, ::testing::Contains(asked)) << "before it is stopped for its copy";
  const auto found =
      std::ranges::find(judged->findings, std::string("vmware.disk.backing"), &Finding::rule);
  EXPECT_EQ(found->level, FindingLevel::Block);
  EXPECT_THAT(found->text, HasSubstr("Hard disk 1"));
}

TEST_F(VmwarePlacesTest, TheWaysThatAnImportAsksForAreJudgedWhenItsVmIsRead) {
  const Image image('w');
  start({{"vms", {{{"name", "web"}, {"power", "off"}, {"disks", {image.disk()}}}}}});
  const auto blocks = [&](const DiskWays& ways, bool vddk) {
    VmRef ref = by_name("web");
    ref.ways = ways;
    ref.vddk = vddk;
    const auto vm = vmware_->find_vm(ref, {});
    EXPECT_TRUE(vm.ok());
    std::string rules;
    for (const Finding& finding : vm->findings) {
      if (finding.level == FindingLevel::Block) rules += finding.rule;
    }
    return rules;
  };
  const std::string id = bed_->vm("web").at("disks")[0].at("label");
  EXPECT_EQ(blocks({}, false), "");
  EXPECT_EQ(blocks({{id, DiskWay::FlatFile}}, false), "");
  EXPECT_EQ(blocks({{"*", DiskWay::ExportLease}}, false), "");
  EXPECT_EQ(blocks({{id, DiskWay::Vddk}}, false), "vmware.disk.backing");
  EXPECT_EQ(blocks({{id, DiskWay::Vddk}}, true), "");
  EXPECT_EQ(blocks({{"another", DiskWay::Vddk}}, false), "");
}

}  // namespace
}  // namespace vmferry
