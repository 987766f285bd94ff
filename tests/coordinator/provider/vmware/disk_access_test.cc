#include "coordinator/provider/vmware/disk_access.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/catalogue.h"
#include "coordinator/provider/vmware/export_lease.h"
#include "tests/coordinator/provider/vmware/recorded.h"

namespace vmferry::vmware {
namespace {

Device flat_disk(std::string file = "[ds] vm/vm.vmdk") {
  Device disk;
  disk.type = "VirtualDisk";
  disk.key = 2000;
  disk.backing.type = "VirtualDiskFlatVer2BackingInfo";
  disk.backing.file = std::move(file);
  disk.backing.uuid = "6000C29a";
  disk.capacity_bytes = 4096;
  return disk;
}

TEST(DiskAccessTest, ChoosesThePathThatGivesTheCurrentContent) {
  const auto with = [](auto change) {
    Device disk = flat_disk();
    change(disk.backing);
    return disk;
  };
  const struct {
    std::string name;
    Device disk;
    AccessPath without_vddk, with_vddk;
  } cases[] = {
      {"flat", flat_disk(), AccessPath::FlatFile, AccessPath::Vddk},
      {"a name that only looks like a delta", flat_disk("[ds] vm/vm-0000012.vmdk"),
       AccessPath::FlatFile, AccessPath::Vddk},
      {"delta by name", flat_disk("[ds] vm/vm-000001.vmdk"), AccessPath::ExportLease,
       AccessPath::Vddk},
      {"delta by parent", with([](Backing& b) { b.parents = 1; }), AccessPath::ExportLease,
       AccessPath::Vddk},
      {"seSparse", with([](Backing& b) { b.type = "VirtualDiskSeSparseBackingInfo"; }),
       AccessPath::ExportLease, AccessPath::Vddk},
      {"encrypted", with([](Backing& b) { b.key_id = "k"; }), AccessPath::None, AccessPath::Vddk},
      {"hosted sparse", with([](Backing& b) { b.type = "VirtualDiskSparseVer2BackingInfo"; }),
       AccessPath::ExportLease, AccessPath::Vddk},
      {"virtual RDM", with([](Backing& b) {
         b.type = "VirtualDiskRawDiskMappingVer1BackingInfo";
         b.compatibility_mode = "virtualMode";
       }),
       AccessPath::ExportLease, AccessPath::Vddk},
      {"persistent memory", with([](Backing& b) { b.type = "VirtualDiskLocalPMemBackingInfo"; }),
       AccessPath::None, AccessPath::None},
      {"physical RDM", with([](Backing& b) {
         b.type = "VirtualDiskRawDiskMappingVer1BackingInfo";
         b.compatibility_mode = "physicalMode";
       }),
       AccessPath::None, AccessPath::None},
      {"VW-37 no file", with([](Backing& b) { b = {}; }), AccessPath::None, AccessPath::None},
      {"independent", with([](Backing& b) { b.disk_mode = "independent_persistent"; }),
       AccessPath::FlatFile, AccessPath::Vddk},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    const AccessChoice without = choose_access(c.disk, false);
    EXPECT_EQ(without.path, c.without_vddk);
    EXPECT_FALSE(without.reason.empty());
    EXPECT_EQ(without.remedy.empty(), without.path != AccessPath::None);
    EXPECT_EQ(choose_access(c.disk, true).path, c.with_vddk);
  }
}

TEST(DiskAccessTest, AskingForAWayGivesItOrTheReasonWhyNot) {
  const Device delta = flat_disk("[ds] vm/vm-000001.vmdk");
  Device encrypted = flat_disk();
  encrypted.backing.key_id = "k";
  const struct {
    std::string name;
    Device disk;
    DiskWay wanted;
    AccessPath path;
  } cases[] = {
      {"flat over HTTPS", flat_disk(), DiskWay::FlatFile, AccessPath::FlatFile},
      {"flat by export", flat_disk(), DiskWay::ExportLease, AccessPath::ExportLease},
      {"flat by VDDK", flat_disk(), DiskWay::Vddk, AccessPath::Vddk},
      {"a delta's base alone", delta, DiskWay::FlatFile, AccessPath::None},
      {"a delta by export", delta, DiskWay::ExportLease, AccessPath::ExportLease},
      {"encrypted by export", encrypted, DiskWay::ExportLease, AccessPath::None},
      {"encrypted by VDDK", encrypted, DiskWay::Vddk, AccessPath::Vddk},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    const AccessChoice choice = choose_access(c.disk, true, c.wanted);
    EXPECT_EQ(choice.path, c.path);
    EXPECT_FALSE(choice.reason.empty());
    EXPECT_EQ(choice.remedy.empty(), c.path != AccessPath::None);
  }
  const AccessChoice nobody = choose_access(flat_disk(), false, DiskWay::Vddk);
  EXPECT_EQ(nobody.path, AccessPath::None);
  EXPECT_EQ(nobody.reason, "no agent has VDDK");
  EXPECT_NE(nobody.remedy.find("--vddk-libdir"), std::string::npos);
}

TEST(DiskAccessTest, Vsrc34EncodesPathsOnceAndNamesOnceOrTwice) {
  EXPECT_EQ(folder_url("https://vc:443", "my ds", "dir (1)/a b.vmdk", "Site A/DC", false),
            "https://vc:443/folder/dir%20%281%29/a%20b.vmdk?dcPath=Site%20A%2FDC&dsName=my%20ds");
  EXPECT_EQ(folder_url("https://vc:443", "my ds", "d/a.vmdk", "Site A/DC", true),
            "https://vc:443/folder/d/a.vmdk?dcPath=Site%2520A%252FDC&dsName=my%2520ds");
}

TEST(DiskAccessTest, FindsTheNeighbourOfADescriptor) {
  EXPECT_EQ(sibling("[ds] a/b/c.vmdk", "c-flat.vmdk"), "[ds] a/b/c-flat.vmdk");
  EXPECT_EQ(sibling("[ds] c.vmdk", "c-flat.vmdk"), "[ds] c-flat.vmdk");
  EXPECT_EQ(sibling("[d/s] c.vmdk", "c-flat.vmdk"), "[d/s] c-flat.vmdk");
}

VmdkDescriptor descriptor(std::vector<VmdkExtent> extents, std::string parent = "ffffffff") {
  VmdkDescriptor d;
  d.cid = "0a1b2c3d";
  d.parent_cid = std::move(parent);
  d.create_type = "vmfs";
  d.extents = std::move(extents);
  return d;
}

TEST(DiskAccessTest, FlatExtentsAreReadDirectlyOrByTheirDescriptor) {
  const VmdkExtent whole{"RW", "VMFS", 4096, "vm-flat.vmdk", 0};
  const struct {
    std::string name;
    std::vector<VmdkExtent> extents;
    FlatLayout expected;
  } cases[] = {
      {"one file", {whole}, {{{"vm-flat.vmdk", 4096}}, false}},
      {"a name like a descriptor's",
       {{"RW", "VMFS", 4096, "vm.vmdk", 0}},
       {{{"vm.vmdk", 4096}}, true}},
      {"an offset", {{"RW", "FLAT", 4096, "a-flat.vmdk", 512}}, {{{"a-flat.vmdk", 4608}}, true}},
      {"VSRC-27 several files",
       {{"RW", "FLAT", 1024, "a-f001.vmdk", 0}, {"RW", "FLAT", 3072, "a-f002.vmdk", 0}},
       {{{"a-f001.vmdk", 1024}, {"a-f002.vmdk", 3072}}, true}},
      {"VSRC-30 zeros in between",
       {{"RW", "FLAT", 512, "a-flat.vmdk", 0},
        {"RW", "ZERO", 3072, "", 0},
        {"RW", "FLAT", 512, "a-flat.vmdk", 512}},
       {{{"a-flat.vmdk", 1024}}, true}},
      {"VSRC-30 nothing but zeros", {{"RW", "ZERO", 4096, "", 0}}, {{}, true}},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    const auto layout = flat_layout(descriptor(c.extents), 4096);
    ASSERT_TRUE(layout.ok()) << to_string(layout.error());
    EXPECT_EQ(*layout, c.expected);
  }
}

TEST(DiskAccessTest, RefusesExtentsThatAreNotTheDisksOwnBytes) {
  const VmdkExtent good{"RW", "VMFS", 4096, "vm-flat.vmdk", 0};

  const struct {
    std::string name;
    VmdkDescriptor descriptor;
    std::string_view code;
  } cases[] = {
      {"VSRC-28 a parent, whose CID nobody compares", descriptor({good}, "deadbeef"),
       code::kDiskUnsupported},
      {"a sparse extent", descriptor({{"RW", "VMFSSPARSE", 4096, "a", 0}}), code::kDiskUnsupported},
      {"another directory", descriptor({{"RW", "FLAT", 4096, "../x/a", 0}}),
       code::kDiskUnsupported},
      {"VSRC-33 another size", descriptor({{"RW", "FLAT", 4608, "a", 0}}), code::kSourceChanged},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    const auto refused = flat_layout(c.descriptor, 4096);
    ASSERT_FALSE(refused.ok());
    EXPECT_EQ(refused.error().code(), c.code);
  }
}

TEST(DiskAccessTest, EndpointHoldsBothWaysAndWhatMustNotChange) {
  ClientOptions account;
  account.origin = "https://vc:8443";
  account.host = "vc";
  account.port = 8443;
  account.username = "user";
  account.password = SecretString("pw");
  account.trust.thumbprint = std::string(59, 'A');
  Session session;
  session.content.api_type = "VirtualCenter";
  session.content.instance_uuid = "vc-uuid";
  session.cookie = SecretString("vmware_soap_session=\"52a0\"");
  VmModel vm;
  vm.ref = {"VirtualMachine", "vm-42"};
  vm.instance_uuid = "vm-uuid";
  vm.change_version = "v1";
  vm.last_start = "17 at 2026-01-31T09:00:00Z";
  Device disk = flat_disk();
  disk.backing.content_id = "c0ffee";
  disk.backing.change_id = "52 ab/7";
  const FlatFile file{"https://vc:443/folder/x", 4096, "Sat, 31 Jan 2026 10:00:00 GMT", "0a1b"};

  DiskEndpoint endpoint = make_endpoint(account, session, vm, disk, file);
  EXPECT_EQ(endpoint.kind, SourceKind::HttpRange);
  EXPECT_EQ(endpoint.cookie.reveal(), "vmware_soap_session=\"52a0\"");
  EXPECT_EQ(endpoint.size_bytes, 4096u);
  EXPECT_EQ(endpoint.max_connections, 2);
  EXPECT_EQ(endpoint.request_bytes, 16u << 20);
  EXPECT_EQ(endpoint.vddk.server, "vc");
  EXPECT_EQ(endpoint.vddk.port, 8443) << "of the secret's apiUrl";
  EXPECT_EQ(endpoint.vddk.thumbprint, std::string(59, 'A'));
  EXPECT_EQ(endpoint.vddk.vm_moref, "vm-42");
  EXPECT_EQ(endpoint.vddk.file, "[ds] vm/vm.vmdk");
  const std::vector<std::pair<std::string, std::string>> identity = {
      {"vCenter instance", "vc-uuid"},
      {"VM instance uuid", "vm-uuid"},
      {"disk uuid", "6000C29a"},
      {"long content id", "c0ffee"},
      {"content id", "0a1b"},
      {"last start", "17 at 2026-01-31T09:00:00Z"},
      {"capacity", "4096"},
      {"file", "[ds] vm/vm.vmdk"},
      {"file modified", "Sat, 31 Jan 2026 10:00:00 GMT"},
      {"file bytes", "4096"}};
  EXPECT_EQ(endpoint.identity, identity);
  Device unnamed = disk;
  unnamed.backing.content_id.clear();
  EXPECT_THAT(make_plain_endpoint(account, session, vm, unnamed).identity,
              ::testing::Contains(::testing::Pair("change id", "52 ab/7")));
  vm.change_version = "v2";
  EXPECT_EQ(make_endpoint(account, session, vm, disk, file).identity, identity)
      << "a note was edited";
  vm.last_start.reset();
  EXPECT_THAT(make_endpoint(account, session, vm, disk, file).identity,
              ::testing::Contains(::testing::Pair("change version", "v2")))
      << "where the server tells no events, that has to do";

  session.content.api_type = "HostAgent";
  account.trust.thumbprint = std::string(95, 'A');  // SHA-256, of no use to VDDK
  endpoint = make_endpoint(account, session, vm, flat_disk(), file);
  EXPECT_EQ(endpoint.max_connections, 4);
  EXPECT_EQ(endpoint.vddk.thumbprint, "");
  session.thumbprint_sha1 = std::string(59, 'B');  // of the connection that was verified by it
  endpoint = make_endpoint(account, session, vm, flat_disk(), file);
  EXPECT_EQ(endpoint.vddk.thumbprint, std::string(59, 'B'));
}

TEST(DiskAccessTest, ASnapshotTakenSinceIsTheSameContentUntilSomethingIsWritten) {
  Backing now;
  now.file = "[ds] vm/vm-000001.vmdk";
  now.content_id = "1";
  EXPECT_FALSE(is_untouched_snapshot_of(now, "[ds] vm/vm.vmdk")) << "no parent";
  now.parent_file = "[ds] vm/vm.vmdk";
  EXPECT_FALSE(is_untouched_snapshot_of(now, "[ds] vm/vm.vmdk")) << "its parent's is not known";
  now.parent_content_id = "1";
  EXPECT_TRUE(is_untouched_snapshot_of(now, "[ds] vm/vm.vmdk"));
  EXPECT_FALSE(is_untouched_snapshot_of(now, "[ds] vm/other.vmdk"));
  now.content_id = "2";
  EXPECT_FALSE(is_untouched_snapshot_of(now, "[ds] vm/vm.vmdk"));
  now.content_id = now.parent_content_id = "";
  EXPECT_FALSE(is_untouched_snapshot_of(now, "[ds] vm/vm.vmdk"));
}

TEST(DiskAccessTest, ALeasesUrlWithoutThumbprintIsTrustedByWhatVcenterSaysOfTheHost) {
  ClientOptions account;
  account.origin = "https://vc";
  account.host = "vc";
  account.trust.thumbprint = std::string(59, 'A');
  const std::string of_host = "BB:BB:BB:BB:BB:BB:BB:BB:BB:BB:BB:BB:BB:BB:BB:BB:BB:BB:BB:BB";
  const std::string of_lease = "CC:CC:CC:CC:CC:CC:CC:CC:CC:CC:CC:CC:CC:CC:CC:CC:CC:CC:CC:CC";
  const auto trusted = [&](const LeaseUrl& url) {
    const auto endpoint = lease_endpoint(account, Session(), VmModel(), flat_disk(), url);
    EXPECT_TRUE(endpoint.ok());
    return endpoint->trust.thumbprint;
  };
  EXPECT_EQ(trusted({"", "https://esx/nfc/1", "", true, of_host}), of_host);
  EXPECT_EQ(trusted({"", "https://esx/nfc/1", of_lease, true, of_host}), of_lease);
  EXPECT_EQ(trusted({"", "https://esx/nfc/1", "", true}), "") << "by its authority";
  EXPECT_EQ(trusted({"", "https://*/nfc/1", "", true, of_host}), account.trust.thumbprint);
}

TEST(DiskAccessTest, Vsrc35ALeasesUrlIsCompletedByHostAndPortOfTheServerThatWasAsked) {
  struct Case {
    const char* name;
    const char* api_url;
    const char* url;
    const char* expected;
    bool own_server;
  };
  const Case cases[] = {
      {"any host", "https://esx:8443/sdk", "https://*/nfc/1/disk-0.vmdk",
       "https://esx:8443/nfc/1/disk-0.vmdk", true},
      {"any host, usual port", "https://esx/sdk", "https://*/nfc/1/disk-0.vmdk",
       "https://esx/nfc/1/disk-0.vmdk", true},
      {"any host with a port", "https://esx:8443/sdk", "https://*:9443/nfc/1/disk-0.vmdk",
       "https://esx:9443/nfc/1/disk-0.vmdk", false},
      {"any host, an address", "https://[fd00::1]:8443/sdk", "https://*/nfc/1/disk-0.vmdk",
       "https://[fd00::1]:8443/nfc/1/disk-0.vmdk", true},
      {"its usual port, spelled out", "https://esx/sdk", "https://*:443/nfc/1/disk-0.vmdk",
       "https://esx:443/nfc/1/disk-0.vmdk", true},
      {"another host", "https://vc:8443/sdk", "https://esx/nfc/1/disk-0.vmdk",
       "https://esx/nfc/1/disk-0.vmdk", false},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.name);
    ProviderCredentials credentials;
    credentials.api_url = c.api_url;
    credentials.username = "root";
    credentials.password = SecretString("pw");
    const auto account = client_options(credentials);
    ASSERT_TRUE(account.ok());
    Session session;
    session.cookie = SecretString("vmware_soap_session=1");
    const LeaseUrl url{"", c.url, "", true};
    const auto endpoint = lease_endpoint(*account, session, VmModel(), flat_disk(), url);
    ASSERT_TRUE(endpoint.ok());
    EXPECT_EQ(endpoint->url, c.expected);
    EXPECT_EQ(!endpoint->cookie.empty(), c.own_server) << "the cookie is nobody else's business";
  }
}

}  // namespace
}  // namespace vmferry::vmware
