#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <chrono>
#include <fstream>
#include <sstream>
#include <string_view>
#include <thread>

#include "common/catalogue.h"
#include "common/http_client.h"
#include "coordinator/provider/provider.h"
#include "tests/support/vcsim_fixture.h"

namespace vmferry {
namespace {

using nlohmann::json;
using testing::VcsimBed;

constexpr std::uint64_t kMib = 1 << 20;

VmRef by_id(std::string id) {
  VmRef ref;
  ref.id = std::move(id);
  return ref;
}
VmRef by_name(std::string name) {
  VmRef ref;
  ref.name = std::move(name);
  return ref;
}
HttpClient::Options trusting(const TlsTrust& trust) {
  HttpClient::Options options;
  options.trust = trust;
  return options;
}
VcsimBed::Options bed_options(json inventory, std::vector<std::string> flags = {}) {
  VcsimBed::Options options;
  options.inventory = std::move(inventory);
  options.flags = std::move(flags);
  return options;
}

json test_inventory() {
  const auto disk = [](std::uint64_t mib, const char* controller) {
    return json{{"size_bytes", mib * kMib}, {"controller", controller}};
  };
  return {
      {"datacenter", "Site A/DC (main)"},
      {"vms",
       {{{"name", "web"},
         {"uuid", "4210a0b1-c2d3-e4f5-0617-2839405a6b7c"},
         {"instance_uuid", "5010a0b1-c2d3-e4f5-0617-2839405a6b7c"},
         {"folder", "prod"},
         {"guest_id", "rhel8_64Guest"},
         {"annotation", "front & back"},
         {"cpus", 4},
         {"cores_per_socket", 2},
         {"memory_mb", 2048},
         {"firmware", "efi"},
         {"secure_boot", true},
         {"disks", {disk(4, "pvscsi"), disk(2, "sata")}},
         {"nics", {{{"network", "VM Network"}, {"mac", "00:50:56:AA:00:01"}}}}},
        {{"name", "running"},
         {"power", "on"},
         {"tools", "toolsOk"},
         {"shutdown_seconds", 0.1},
         {"disks", {disk(1, "pvscsi")}}},
        {{"name", "stubborn"}, {"power", "on"}, {"disks", {disk(1, "ide")}}},
        {{"name", "asleep"}, {"power", "suspended"}, {"disks", {disk(1, "nvme")}}},
        {{"name", "a/b%c"}, {"folder", "odd"}, {"disks", {disk(1, "lsilogic")}}},
        {{"name", "twin"}, {"folder", "one"}, {"uuid", "4299a0b1-c2d3-e4f5-0617-2839405a6b7c"}},
        {{"name", "twin"}, {"folder", "two"}, {"uuid", "4299a0b1-c2d3-e4f5-0617-2839405a6b7c"}}}}};
}

class VmwareProviderTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    if (VcsimBed::missing().empty()) bed_ = VcsimBed::start(bed_options(test_inventory()));
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
  static std::unique_ptr<Provider> provider() {
    auto made = make_vmware_provider(credentials(), Logger());
    EXPECT_TRUE(made.ok()) << (made.ok() ? "" : made.error().message());
    return made.ok() ? *std::move(made) : nullptr;
  }
  static std::string moref(const std::string& name) { return bed_->vm(name).at("moref"); }
  static int calls(const std::string& method) { return bed_->state()["calls"].value(method, 0); }
  static int counter(const std::string& name) { return bed_->state().value(name, 0); }

  static std::unique_ptr<VcsimBed> bed_;
};

std::unique_ptr<VcsimBed> VmwareProviderTest::bed_;

#define ASSERT_OK(result) \
  ASSERT_TRUE((result).ok()) << ((result).ok() ? "" : to_string((result).error()))

TEST_F(VmwareProviderTest, ReadsTheWholeVm) {
  const auto vmware = provider();
  const auto vm = vmware->find_vm(by_name("web"), {});
  ASSERT_OK(vm);
  EXPECT_EQ(vm->id, "4210a0b1-c2d3-e4f5-0617-2839405a6b7c");
  EXPECT_EQ(vm->native_id, moref("web"));
  EXPECT_EQ(vm->name, "web");
  EXPECT_EQ(vm->inventory_path, "Site A/DC (main)/vm/prod/web");
  EXPECT_EQ(vm->power, PowerState::Down);
  EXPECT_EQ(vm->description, "front & back");
  EXPECT_EQ(vm->os_type, "rhel8_64Guest");
  EXPECT_EQ(vm->cpu_cores, 2u);
  EXPECT_EQ(vm->cpu_sockets, 2u);
  EXPECT_EQ(vm->memory_bytes, 2048 * kMib);
  EXPECT_EQ(vm->firmware, Firmware::EfiSecureBoot);
  EXPECT_EQ(vm->serial, "5010a0b1-c2d3-e4f5-0617-2839405a6b7c");
  ASSERT_EQ(vm->disks.size(), 2u);
  EXPECT_EQ(vm->disks[0].name, "Hard disk 1");
  EXPECT_EQ(vm->disks[0].size_bytes, 4 * kMib);
  EXPECT_EQ(vm->disks[0].storage_name, "LocalDS_0");
  EXPECT_EQ(vm->disks[0].file, bed_->vm("web").at("disks")[0].at("file").get<std::string>());
  EXPECT_TRUE(vm->disks[0].bootable);
  EXPECT_EQ(vm->disks[1].size_bytes, 2 * kMib);
  ASSERT_EQ(vm->nics.size(), 1u);
  EXPECT_EQ(vm->nics[0].mac, "00:50:56:aa:00:01");
  ASSERT_FALSE(vm->nics[0].network_names.empty());
  EXPECT_EQ(vm->nics[0].network_names[0], "VM Network");
  ASSERT_FALSE(vm->nics[0].network_ids.empty());
  EXPECT_TRUE(vm->nics[0].network_ids[0].starts_with("network-")) << vm->nics[0].network_ids[0];
  for (const Finding& finding : vm->findings) {
    EXPECT_NE(finding.level, FindingLevel::Block) << finding.rule << ": " << finding.text;
  }
}

TEST_F(VmwareProviderTest, VW53FindsTheSameVmByEverySelector) {
  const auto vmware = provider();
  const std::string wanted = moref("web");
  const VmRef refs[] = {by_id("4210a0b1-c2d3-e4f5-0617-2839405a6b7c"),
                        by_id("4210A0B1-C2D3-E4F5-0617-2839405A6B7C"),
                        by_id("5010a0b1-c2d3-e4f5-0617-2839405a6b7c"),
                        by_id(wanted),
                        VmRef{wanted, "twin", "", "", false},
                        by_name("web"),
                        by_name("prod/web"),
                        by_name("Site A/DC (main)/vm/prod/web"),
                        by_name("/Site A/DC (main)/vm/prod/web")};
  for (const VmRef& ref : refs) {
    SCOPED_TRACE(ref.id + " " + ref.name);
    const auto vm = vmware->find_vm(ref, {});
    ASSERT_OK(vm);
    EXPECT_EQ(vm->native_id, wanted);
  }
}

TEST_F(VmwareProviderTest, Val133AWarmImportIsToldWhatTracksNoChanges) {
  const auto vmware = provider();
  VmRef ref = by_name("web");
  for (const bool warm : {false, true}) {
    ref.warm = warm;
    const auto vm = vmware->find_vm(ref, {});
    ASSERT_OK(vm);
    const auto told = std::ranges::find(vm->findings, std::string_view("vmware.vm.change_tracking"),
                                        &Finding::rule);
    ASSERT_EQ(told != vm->findings.end(), warm);
    if (warm) {
      EXPECT_EQ(told->level, FindingLevel::Block);
    }
  }
}

TEST_F(VmwareProviderTest, VW54NamesTheVmThatDoesNotExist) {
  const auto vmware = provider();
  const VmRef refs[] = {by_id("00000000-c2d3-e4f5-0617-2839405a6b7c"), by_id("vm-999999"),
                        by_name("nobody"), by_name("Site A/DC (main)/vm/prod/nobody"),
                        by_name("Site A/DC (main)/vm/prod")};
  for (const VmRef& ref : refs) {
    const std::string which = ref.id + ref.name;
    SCOPED_TRACE(which);
    const auto vm = vmware->find_vm(ref, {});
    ASSERT_FALSE(vm.ok());
    EXPECT_EQ(vm.error().kind(), ErrorKind::NotFound);
    EXPECT_EQ(vm.error().code(), code::kVmNotFound);
    EXPECT_NE(vm.error().message().find(which), std::string::npos) << vm.error().message();
  }
}

TEST_F(VmwareProviderTest, Vsrc12RefusesAnAmbiguousNameAndListsTheCandidates) {
  const auto vmware = provider();
  for (const VmRef& ref : {by_name("twin"), by_id("4299a0b1-c2d3-e4f5-0617-2839405a6b7c")}) {
    SCOPED_TRACE(ref.id + ref.name);
    const auto vm = vmware->find_vm(ref, {});
    ASSERT_FALSE(vm.ok());
    EXPECT_EQ(vm.error().code(), code::kVmAmbiguous);
    EXPECT_NE(vm.error().message().find("vm/one/twin (vm-"), std::string::npos)
        << vm.error().message();
    EXPECT_NE(vm.error().message().find("vm/two/twin (vm-"), std::string::npos);
  }
  const auto one = vmware->find_vm(by_name("one/twin"), {});
  ASSERT_OK(one);
  EXPECT_EQ(one->inventory_path, "Site A/DC (main)/vm/one/twin");
}

TEST_F(VmwareProviderTest, Vsrc11UnescapesSlashAndPercentInNames) {
  const auto vmware = provider();
  const auto vm = vmware->find_vm(by_name("a/b%c"), {});
  ASSERT_OK(vm);
  EXPECT_EQ(vm->name, "a/b%c");
  const auto by_path = vmware->find_vm(by_name("odd/a%2fb%25c"), {});
  ASSERT_OK(by_path);
  EXPECT_EQ(by_path->native_id, vm->native_id);
}

TEST_F(VmwareProviderTest, Vsrc34OpensEveryDiskAndItsBytesAreTheDisks) {
  const auto vmware = provider();
  const auto vm = vmware->find_vm(by_name("web"), {});
  ASSERT_OK(vm);
  for (std::size_t i = 0; i < vm->disks.size(); ++i) {
    const SourceDisk& disk = vm->disks[i];
    SCOPED_TRACE(disk.name);
    const auto opening = vmware->open_disk(*vm, disk, "owner", {});
    ASSERT_OK(opening);
    EXPECT_TRUE(opening->handle.empty());
    ASSERT_TRUE(opening->endpoint.has_value());
    const DiskEndpoint& endpoint = *opening->endpoint;
    EXPECT_EQ(endpoint.kind, SourceKind::HttpRange);
    EXPECT_EQ(endpoint.size_bytes, disk.size_bytes);
    EXPECT_NE(endpoint.url.find("-flat.vmdk?"), std::string::npos) << endpoint.url;
    EXPECT_EQ(endpoint.trust.thumbprint, bed_->sha1());
    EXPECT_EQ(endpoint.vddk.vm_moref, vm->native_id);
    EXPECT_EQ(endpoint.vddk.file, disk.file);
    EXPECT_EQ(endpoint.vddk.thumbprint, bed_->sha1());
    EXPECT_FALSE(endpoint.identity.empty());

    const auto client = HttpClient::make(trusting(endpoint.trust));
    ASSERT_OK(client);
    HttpRequest range;
    range.url = endpoint.url;
    range.cookie = endpoint.cookie;
    range.headers = {{"Range", "bytes=512-4607"}};
    const auto bytes = (*client)->send(range, {});
    ASSERT_OK(bytes);
    EXPECT_EQ(bytes->status, 206);
    std::ifstream file(bed_->vm("web").at("disks")[i].at("path").get<std::string>(),
                       std::ios::binary);
    std::ostringstream whole;
    whole << file.rdbuf();
    EXPECT_EQ(bytes->body, whole.str().substr(512, 4096));
    EXPECT_EQ(*vmware->release_disk(opening->handle, disk.id, "owner", true, {}), true);
  }
}

TEST_F(VmwareProviderTest, Vsrc9AcceptsThumbprintsInEverySpelling) {
  std::string bare;
  for (const char c : bed_->sha256()) {
    if (c != ':') bare += static_cast<char>(std::tolower(c));
  }
  for (const std::string& pin : {bed_->sha1(), bed_->sha256(), bare}) {
    SCOPED_TRACE(pin);
    ProviderCredentials c = credentials();
    c.thumbprint = pin;
    const auto made = make_vmware_provider(c, Logger());
    ASSERT_OK(made);
    EXPECT_TRUE((*made)->check_connection({}).ok());
  }
}

TEST_F(VmwareProviderTest, TrustsTheCaOfTheSecretWithoutAThumbprint) {
  ProviderCredentials c = credentials();
  c.thumbprint.clear();
  std::ifstream file(bed_->ca_file());
  std::ostringstream pem;
  pem << file.rdbuf();
  c.ca_pem = pem.str();
  const auto made = make_vmware_provider(c, Logger());
  ASSERT_OK(made);
  EXPECT_TRUE((*made)->check_connection({}).ok());
  const auto vm = (*made)->find_vm(by_name("web"), {});
  ASSERT_OK(vm);
  EXPECT_TRUE(std::ranges::any_of(
      vm->findings, [](const Finding& f) { return f.rule == "vmware.api.thumbprint"; }));
}

TEST_F(VmwareProviderTest, Vsrc10WrongThumbprintFailsBeforeAnyRequest) {
  const json before = bed_->state();
  for (const bool pinned : {true, false}) {
    ProviderCredentials c = credentials();
    // Without pin and CA the system's store decides, and it does not know the bed's authority.
    c.thumbprint = pinned ? std::string("AA") + bed_->sha1().substr(2) : "";
    if (c.thumbprint == bed_->sha1()) c.thumbprint = "BB" + bed_->sha1().substr(2);
    const auto made = make_vmware_provider(c, Logger());
    ASSERT_OK(made);
    const auto result = (*made)->check_connection({});
    ASSERT_FALSE(result.ok());
    EXPECT_EQ(result.error().kind(), ErrorKind::PermissionDenied) << result.error().message();
    EXPECT_EQ(result.error().code(), code::kSourceTls) << result.error().message();
    EXPECT_NE(result.error().message().find("https://127.0.0.1"), std::string::npos)
        << result.error().message();
  }
  EXPECT_EQ(bed_->state()["calls"], before["calls"]);
}

TEST_F(VmwareProviderTest, Vsrc8SendsAWrongPasswordExactlyOnce) {
  const int before = calls("Login");
  ProviderCredentials c = credentials();
  c.password = SecretString("wrong-password-17");
  const auto made = make_vmware_provider(c, Logger());
  ASSERT_OK(made);
  for (int i = 0; i < 3; ++i) {
    const auto result = (*made)->check_connection({});
    ASSERT_FALSE(result.ok());
    EXPECT_EQ(result.error().kind(), ErrorKind::PermissionDenied);
    EXPECT_EQ(result.error().code(), code::kSourceAuth);
    EXPECT_EQ(result.error().message().find("wrong-password-17"), std::string::npos);
  }
  EXPECT_EQ(calls("Login"), before + 1);
}

TEST_F(VmwareProviderTest, LogsInOnceForManyThreadsAndLogsOutAtTheEnd) {
  const int logins = counter("logins");
  const int logouts = counter("logouts");
  {
    const auto vmware = provider();
    std::vector<std::jthread> threads;
    for (int i = 0; i < 6; ++i) {
      threads.emplace_back([&vmware] {
        for (int j = 0; j < 5; ++j) {
          const auto vm = vmware->find_vm(by_name("web"), {});
          EXPECT_TRUE(vm.ok()) << to_string(vm.error());
        }
      });
    }
  }
  EXPECT_EQ(counter("logins"), logins + 1);
  EXPECT_EQ(counter("logouts"), logouts + 1);
}

TEST_F(VmwareProviderTest, CloseLogsOutAndTheNextCallLogsInAgain) {
  const auto vmware = provider();
  ASSERT_OK(vmware->check_connection({}));
  const int logouts = counter("logouts");
  vmware->close();
  vmware->close();
  EXPECT_EQ(counter("logouts"), logouts + 1);
  EXPECT_TRUE(vmware->check_connection({}).ok());
}

TEST_F(VmwareProviderTest, Vsrc32RenewsTheCookieAfterTheSessionExpired) {
  const auto vmware = provider();
  const auto vm = vmware->find_vm(by_name("web"), {});
  ASSERT_OK(vm);
  const auto opening = vmware->open_disk(*vm, vm->disks[0], "owner", {});
  ASSERT_OK(opening);
  bed_->post("/expire-sessions", json::object());
  const auto renewed = vmware->renew(*vm, vm->disks[0], opening->handle, {});
  ASSERT_OK(renewed);
  EXPECT_NE(renewed->endpoint->cookie.reveal(), opening->endpoint->cookie.reveal());
  EXPECT_EQ(renewed->endpoint->identity, opening->endpoint->identity);
  EXPECT_EQ(renewed->endpoint->url, opening->endpoint->url);
}

TEST_F(VmwareProviderTest, Vsrc32OpensADiskThoughTheDatastoreForgotTheSession) {
  const auto vmware = provider();
  const auto vm = vmware->find_vm(by_name("web"), {});
  ASSERT_OK(vm);
  bed_->post("/fault", {{"folder", true}, {"status", 401}, {"times", 1}});
  EXPECT_TRUE(vmware->open_disk(*vm, vm->disks[0], "owner", {}).ok());
  bed_->post("/expire-sessions", json::object());
  EXPECT_TRUE(vmware->open_disk(*vm, vm->disks[0], "owner", {}).ok());
}

TEST_F(VmwareProviderTest, Vsrc14RetriesAProxysErrorPage) {
  const auto vmware = provider();
  bed_->post("/fault", {{"method", "RetrievePropertiesEx"}, {"status", 503}, {"times", 2}});
  EXPECT_TRUE(vmware->find_vm(by_name("web"), {}).ok());

  bed_->post("/fault", {{"method", "RetrievePropertiesEx"}, {"status", 503}});
  const auto vm = vmware->find_vm(by_name("web"), {});
  ASSERT_FALSE(vm.ok());
  EXPECT_EQ(vm.error().kind(), ErrorKind::Unavailable);
  EXPECT_EQ(vm.error().code(), code::kSourceUnreachable);
  EXPECT_NE(vm.error().message().find("503"), std::string::npos) << vm.error().message();
}

TEST_F(VmwareProviderTest, VW56AndVsrc18PowersOffAndOnTwiceWithoutError) {
  const auto vmware = provider();
  const std::string id = moref("stubborn");
  ASSERT_OK(vmware->request_stop(id, true, {}));
  const auto settles = [&](PowerState wanted) {
    for (int i = 0; i < 100; ++i) {
      const auto state = vmware->power_state(id, {});
      if (state.ok() && *state == wanted) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
    return false;
  };
  EXPECT_TRUE(settles(PowerState::Down));
  EXPECT_TRUE(vmware->request_stop(id, true, {}).ok());
  EXPECT_TRUE(vmware->request_stop(id, false, {}).ok());  // a guest that is off
  ASSERT_OK(vmware->start(id, {}));
  EXPECT_TRUE(settles(PowerState::Up));
  EXPECT_TRUE(vmware->start(id, {}).ok());
}

TEST_F(VmwareProviderTest, VW57AsksTheGuestToShutDownAndSeesItGoDown) {
  const auto vmware = provider();
  const auto vm = vmware->find_vm(by_name("running"), {});
  ASSERT_OK(vm);
  EXPECT_EQ(vm->power, PowerState::Up);
  const auto opening = vmware->open_disk(*vm, vm->disks[0], "owner", {});
  ASSERT_FALSE(opening.ok());
  EXPECT_EQ(opening.error().code(), code::kVmState);
  ASSERT_OK(vmware->request_stop(vm->native_id, false, {}));
  PowerState state = PowerState::Up;
  for (int i = 0; i < 100 && state != PowerState::Down; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    const auto now = vmware->power_state(vm->native_id, {});
    ASSERT_OK(now);
    state = *now;
  }
  EXPECT_EQ(state, PowerState::Down);
  EXPECT_TRUE(vmware->open_disk(*vm, vm->disks[0], "owner", {}).ok());
}

TEST_F(VmwareProviderTest, RefusesToShutDownAGuestWithoutTools) {
  bed_->post("/vm", {{"name", "stubborn"}, {"power", "on"}});
  const auto vmware = provider();
  const auto result = vmware->request_stop(moref("stubborn"), false, {});
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.error().code(), code::kVmState);
  EXPECT_EQ(result.error().kind(), ErrorKind::InvalidArgument);
}

TEST_F(VmwareProviderTest, VW58BlocksASuspendedVm) {
  const auto vmware = provider();
  const auto vm = vmware->find_vm(by_name("asleep"), {});
  ASSERT_OK(vm);
  EXPECT_EQ(vm->power, PowerState::Suspended);
  EXPECT_TRUE(std::ranges::any_of(vm->findings, [](const Finding& f) {
    return f.rule == "vmware.vm.power_state" && f.level == FindingLevel::Block;
  }));
}

// The tests below need inventories or deaths of their own.
class VmwareProviderOwnBedTest : public ::testing::Test {
 protected:
  void start(json inventory, std::vector<std::string> flags = {}) {
    bed_ = VcsimBed::start(bed_options(std::move(inventory), std::move(flags)));
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
  void SetUp() override {
    if (const std::string reason = VcsimBed::missing(); !reason.empty()) GTEST_SKIP() << reason;
  }
  std::unique_ptr<VcsimBed> bed_;
  std::unique_ptr<Provider> vmware_;
};

TEST_F(VmwareProviderOwnBedTest, VW52ConnectionTestFailsOnceTheServerIsGone) {
  start(test_inventory());
  EXPECT_TRUE(vmware_->check_connection({}).ok());
  bed_->kill();
  const auto result = vmware_->check_connection({});
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.error().code(), code::kSourceUnreachable) << to_string(result.error());
}

TEST_F(VmwareProviderOwnBedTest, Vsrc4ReadsAllPagesAndVsrc7RestartsWhenTheSessionEndsBetween) {
  json vms = json::array();
  for (int i = 0; i < 9; ++i) vms.push_back({{"name", "vm" + std::to_string(i)}});
  start({{"vms", vms}}, {"--page", "3"});
  for (int i = 0; i < 9; ++i) {
    EXPECT_TRUE(vmware_->find_vm(by_name("vm" + std::to_string(i)), {}).ok()) << i;
  }
  const int logins = bed_->state().value("logins", 0);
  bed_->post("/fault", {{"method", "ContinueRetrievePropertiesEx"},
                        {"fault", "NotAuthenticated"},
                        {"skip", 1},
                        {"times", 1}});
  EXPECT_TRUE(vmware_->find_vm(by_name("vm8"), {}).ok());
  EXPECT_EQ(bed_->state().value("logins", 0), logins + 1);
}

// The backing of a disk on vSAN or a vVol says flat; only its descriptor tells.
TEST_F(VmwareProviderOwnBedTest, ADiskWhoseDataIsNoFileIsExported) {
  start({{"vms", {{{"name", "web"}, {"disks", {{{"size_bytes", kMib}}}}}}}});
  const auto vm = vmware_->find_vm(by_name("web"), {});
  ASSERT_OK(vm);
  std::string descriptor = bed_->vm("web").at("disks")[0].at("path");
  descriptor.replace(descriptor.rfind("-flat"), std::string_view("-flat").size(), "");
  for (const char* object : {"vsan://4f6ad2b0-8a1c-11ee", "vvol://ae9d5c2f-77aa-4c5e"}) {
    SCOPED_TRACE(object);
    std::ofstream(descriptor, std::ios::trunc)
        << "# Disk DescriptorFile\nversion=4\nCID=fffffffe\nparentCID=ffffffff\n"
           "createType=\"vmfs\"\nRW "
        << kMib / 512 << " VMFS \"" << object << "\"\n";
    const auto way = vmware_->choose_way(*vm, vm->disks[0], false, {});
    ASSERT_OK(way);
    EXPECT_EQ(way->way, DiskWay::ExportLease);
    EXPECT_NE(way->why.find("object of the storage"), std::string::npos) << way->why;
  }
}

TEST_F(VmwareProviderOwnBedTest, AnAccountThatMayNotReadDatastoresExports) {
  start({{"vms", {{{"name", "web"}, {"disks", {{{"size_bytes", kMib}}}}}}}});
  const auto vm = vmware_->find_vm(by_name("web"), {});
  ASSERT_OK(vm);
  bed_->post("/fault", {{"folder", true}, {"status", 403}, {"times", 8}});
  const auto way = vmware_->choose_way(*vm, vm->disks[0], false, {});
  ASSERT_OK(way);
  EXPECT_EQ(way->way, DiskWay::ExportLease);
  EXPECT_NE(way->why.find("Datastore.Browse"), std::string::npos) << way->why;
}

TEST_F(VmwareProviderOwnBedTest, Vsrc33MissingAndGrownFilesAreNamed) {
  start(
      {{"vms", {{{"name", "web"}, {"disks", {{{"size_bytes", kMib}}, {{"size_bytes", kMib}}}}}}}});
  const auto vm = vmware_->find_vm(by_name("web"), {});
  ASSERT_OK(vm);
  bed_->post("/delete-file", {{"path", "web/web-flat.vmdk"}});
  const auto gone = vmware_->open_disk(*vm, vm->disks[0], "owner", {});
  ASSERT_FALSE(gone.ok());
  EXPECT_EQ(gone.error().code(), code::kDiskMissing);
  EXPECT_NE(gone.error().message().find("web-flat.vmdk"), std::string::npos)
      << gone.error().message();
  EXPECT_NE(gone.error().message().find("Hard disk 1"), std::string::npos);

  SourceDisk grown = vm->disks[1];
  grown.size_bytes -= 512;
  const auto changed = vmware_->open_disk(*vm, grown, "owner", {});
  ASSERT_FALSE(changed.ok());
  EXPECT_EQ(changed.error().code(), code::kSourceChanged);

  const std::string flat = bed_->vm("web").at("disks")[1].at("path");
  std::ofstream(flat, std::ios::app | std::ios::binary) << "x";
  const auto longer = vmware_->open_disk(*vm, vm->disks[1], "owner", {});
  ASSERT_FALSE(longer.ok());
  EXPECT_EQ(longer.error().kind(), ErrorKind::DataLoss);
}

}  // namespace
}  // namespace vmferry
