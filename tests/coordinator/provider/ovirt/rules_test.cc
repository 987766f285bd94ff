#include "coordinator/provider/ovirt/rules.h"

#include "coordinator/provider/ovirt/time_zones.h"
#include "tests/coordinator/provider/ovirt/vm_xml.h"

namespace vmferry::ovirt {
namespace {

using Ids = std::vector<std::string>;

WallTime some_day() { return *parse_rfc3339("2026-11-22T12:00:00Z"); }

std::vector<Finding> findings_of(const std::string& xml) {
  return check_rules(vm_of(xml), {.is_utc_compatible = [](std::string_view zone) {
                       return is_utc_compatible(zone, some_day());
                     }});
}

Ids ids_of(const std::vector<Finding>& findings) {
  Ids ids;
  for (const Finding& finding : findings) ids.push_back(finding.rule);
  return ids;
}

std::string tuned(const std::string& sets_xml) {
  return with(kBaseVm,
              "<cpu_set>0</cpu_set></vcpu_pin>\n      "
              "<vcpu_pin><vcpu>1</vcpu><cpu_set>1</cpu_set></vcpu_pin>",
              sets_xml);
}
std::string pins(const std::string& first, const std::string& second) {
  return tuned("<cpu_set>" + first + "</cpu_set></vcpu_pin><vcpu_pin><cpu_set>" + second +
               "</cpu_set></vcpu_pin>");
}

struct Case {
  const char* name;
  std::string xml;
  Ids expected;
  FindingLevel level = FindingLevel::Log;  // of every finding
  std::string text = {};                   // in the first finding's
};

void check(const std::vector<Case>& cases) {
  for (const Case& c : cases) {
    SCOPED_TRACE(c.name);
    const std::vector<Finding> findings = findings_of(c.xml);
    EXPECT_EQ(ids_of(findings), c.expected);
    for (const Finding& finding : findings) {
      EXPECT_EQ(finding.level, c.level);
      EXPECT_EQ(finding.group, FindingGroup::Rules);
      EXPECT_TRUE(finding.level != FindingLevel::Block || !finding.remedy.empty());
    }
    if (!findings.empty()) {
      EXPECT_NE(findings[0].text.find(c.text), std::string::npos) << findings[0].text;
    }
  }
}

constexpr FindingLevel kLog = FindingLevel::Log;
constexpr FindingLevel kWarn = FindingLevel::Warn;
constexpr FindingLevel kBlock = FindingLevel::Block;

TEST(OvirtVmRulesTest, Val01To04) {
  check({{"VAL-01", kBaseVm, {}, kLog},
         {"VAL-02", with(kBaseVm, "<status>down</status>", ""), {"vm.status"}, kBlock},
         {"VAL-03 up", with(kBaseVm, "<status>down<", "<status>up<"), {}, kLog}});
  for (const char* status :
       {"image_locked", "migrating", "not_responding", "paused", "powering_down", "powering_up",
        "reboot_in_progress", "restoring_state", "saving_state", "suspended", "unassigned",
        "unknown", "wait_for_launch"}) {
    const std::string xml = with(kBaseVm, "<status>down<", "<status>" + std::string(status) + "<");
    check({{"VAL-04", xml, {"vm.status"}, kBlock, status}});
  }
}

TEST(OvirtVmRulesTest, Val05To10Bios) {
  const std::string type = "<type>q35_sea_bios</type>";
  const std::string by_cluster = with(kBaseVm, type, "<type>cluster_default</type>");
  check({
      {"VAL-05",
       with(kBaseVm, type, type + "<boot_menu><enabled>true</enabled></boot_menu>"),
       {"vm.bios.boot_menu.enabled"},
       kLog},
      {"VAL-06", with(kBaseVm, type, ""), {"vm.bios.type"}, kBlock},
      {"VAL-07", with(kBaseVm, type, "<type>i440fx_sea_bios</type>"), {}, kLog},
      {"VAL-08",
       with(kBaseVm, type, "<type>q35_secure_boot</type>"),
       {"vm.bios.type.q35_secure_boot"},
       kWarn},
      {"VAL-09 q35", by_cluster, {}, kLog},
      {"VAL-09 i440fx",
       with(by_cluster, "<bios_type>q35_sea_bios<", "<bios_type>i440fx_sea_bios<"),
       {},
       kLog},
      {"VAL-10",
       with(by_cluster, "<bios_type>q35_sea_bios</bios_type>", ""),
       {"vm.bios.type"},
       kBlock,
       "cluster_default"},
      {"no bios", with(kBaseVm, "<bios>" + type + "</bios>", ""), {}, kLog},
      {"q35_ovmf", with(kBaseVm, type, "<type>q35_ovmf</type>"), {}, kLog},
  });
}

TEST(OvirtVmRulesTest, Val11To13Cpu) {
  check({
      {"VAL-11", with(kBaseVm, "x86_64", "s390x"), {"vm.cpu.architecture"}, kBlock, "s390x"},
      {"VAL-12 same", pins("0", "0"), {"vm.cpu.cpu_tune"}, kWarn, "0; 0"},
      {"VAL-12 range", pins("0-1", "0-1"), {"vm.cpu.cpu_tune"}, kWarn, "0-1"},
      {"VAL-12 list", pins("0,1", "0,1"), {"vm.cpu.cpu_tune"}, kWarn, "0,1"},
      {"VAL-12 exclusion",
       tuned("<cpu_set>^1</cpu_set></vcpu_pin>"),
       {"vm.cpu.cpu_tune"},
       kWarn,
       "^1"},
      {"VAL-13", with_more("<cpu_shares>1024</cpu_shares>"), {"vm.cpu_shares"}, kLog, "1024"},
      {"VAL-13 zero", with_more("<cpu_shares>0</cpu_shares>"), {"vm.cpu_shares"}, kLog, "0"},
  });
}

TEST(OvirtVmRulesTest, Val14To20Settings) {
  const auto property = [](const std::string& name, const std::string& value) {
    return with_more("<custom_properties><custom_property><name>" + name + "</name><value>" +
                     value + "</value></custom_property></custom_properties>");
  };
  check({
      {"VAL-14", property("sap_agent", "true"), {"vm.custom_properties"}, kWarn, "sap_agent=true"},
      {"VAL-14 good pages", property("hugepages", "2048"), {"vm.custom_properties"}, kWarn},
      {"N bad pages",
       property("hugepages", "3"),
       {"vm.custom_properties", "vm.custom_properties.hugepages"},
       kWarn},
      {"N pages larger than the memory",
       property("hugepages", "16777216"),
       {"vm.custom_properties", "vm.custom_properties.hugepages"},
       kWarn},
      {"N pages that do not divide the memory",
       with(property("hugepages", "1048576"), "2147483648", "1610612736"),
       {"vm.custom_properties", "vm.custom_properties.hugepages"},
       kWarn},
      {"VAL-15",
       with_more("<display><type>spice</type></display>"),
       {"vm.display.type"},
       kLog,
       "spice"},
      {"VAL-16",
       with_more("<has_illegal_images>true</has_illegal_images>"),
       {"vm.has_illegal_images"},
       kBlock},
      {"VAL-17",
       with(kBaseVm, "<enabled>true</enabled>", "<enabled>true</enabled><priority>1</priority>"),
       {"vm.high_availability.priority"},
       kLog,
       "1"},
      {"VAL-18", with_more("<io><threads>4</threads></io>"), {"vm.io.threads"}, kWarn, "4"},
      {"VAL-18 none", with_more("<io><threads>0</threads></io>"), {}, kLog},
      {"VAL-19 ballooning",
       with_more("<memory_policy><ballooning>true</ballooning></memory_policy>"),
       {"vm.memory_policy.ballooning"},
       kLog},
      {"VAL-19 guaranteed",
       with_more("<memory_policy><guaranteed>1024</guaranteed></memory_policy>"),
       {"vm.memory_policy.guaranteed"},
       kLog,
       "1024"},
      {"VAL-19 overcommit",
       with_more("<memory_policy><over_commit><percent>10</percent></over_commit></memory_policy>"),
       {"vm.memory_policy.over_commit.percent"},
       kLog,
       "10"},
      {"VAL-20 migration",
       with_more("<migration><auto_converge>inherit</auto_converge></migration>"),
       {"vm.migration"},
       kLog},
      {"VAL-20 downtime",
       with_more("<migration_downtime>5</migration_downtime>"),
       {"vm.migration_downtime"},
       kLog,
       "5"},
      {"VAL-20 numa",
       with_more("<numa_tune_mode>strict</numa_tune_mode>"),
       {"vm.numa_tune_mode"},
       kWarn,
       "strict"},
  });
  const std::vector<Finding> gpu = findings_of(property("mdev_type", "nvidia-63"));
  ASSERT_EQ(gpu.size(), 2u);
  EXPECT_EQ(gpu[1].rule, "vm.custom_properties.mdev_type");
  EXPECT_EQ(gpu[1].level, kBlock);
}

TEST(OvirtVmRulesTest, Val21To24OriginAndDevices) {
  const std::string rng = "<source>urandom</source>";
  check({
      {"VAL-21",
       with(kBaseVm, "<origin>ovirt<", "<origin>kubevirt<"),
       {"vm.origin"},
       kBlock,
       "kubevirt"},
      {"the engine itself",
       with(kBaseVm, "<origin>ovirt<", "<origin>managed_hosted_engine<"),
       {"vm.origin"},
       kBlock,
       "managed_hosted_engine"},
      {"VAL-22 hwrng",
       with(kBaseVm, rng, "<source>hwrng</source>"),
       {"vm.rng_device.source"},
       kLog,
       "hwrng"},
      {"VAL-22 random",
       with(kBaseVm, rng, "<source>random</source>"),
       {"vm.rng_device.source"},
       kLog,
       "random"},
      {"VAL-22 garbage",
       with(kBaseVm, rng, "<source>garbage</source>"),
       {"vm.rng_device.source"},
       kLog,
       "garbage"},
      {"VAL-22 empty", with(kBaseVm, rng, "<source/>"), {"vm.rng_device.source"}, kLog},
      {"VAL-23 sound",
       with_more("<soundcard_enabled>true</soundcard_enabled>"),
       {"vm.soundcard_enabled"},
       kWarn},
      {"VAL-23 paused", with_more("<start_paused>true</start_paused>"), {"vm.start_paused"}, kLog},
      {"VAL-23 storage error",
       with_more("<storage_error_resume_behaviour>auto_resume</storage_error_resume_behaviour>"),
       {"vm.storage_error_resume_behaviour"},
       kLog,
       "auto_resume"},
      {"VAL-23 tunnel",
       with_more("<tunnel_migration>true</tunnel_migration>"),
       {"vm.tunnel_migration"},
       kWarn},
      {"CPUs pinned by a policy",
       with_more("<cpu_pinning_policy>dedicated</cpu_pinning_policy>"),
       {"vm.cpu_pinning_policy"},
       kWarn,
       "dedicated"},
      {"CPUs pinned by hand",
       with_more("<cpu_pinning_policy>manual</cpu_pinning_policy>"),
       {},
       kLog},
      {"a kernel of the host",
       with_more("<os><kernel>iso://vmlinuz</kernel></os>"),
       {"vm.os.kernel"},
       kWarn,
       "iso://vmlinuz"},
      {"stateless", with_more("<stateless>true</stateless>"), {"vm.stateless"}, kWarn},
      {"changes that wait for the next start",
       with_more("<next_run_configuration_exists>true</next_run_configuration_exists>"),
       {"vm.next_run_configuration_exists"},
       kWarn},
      {"VAL-23 usb", with_more("<usb><enabled>true</enabled></usb>"), {"vm.usb"}, kBlock},
      {"VAL-24",
       with(kBaseVm, "<graphics_consoles>",
            "<graphics_consoles><graphics_console><protocol>spice</protocol></graphics_console>"),
       {"vm.graphic_consoles.protocol"},
       kLog,
       "spice"},
  });
}

TEST(OvirtVmRulesTest, Val25To33CollectionsMachineAndClock) {
  check({
      {"VAL-25",
       with_more("<host_devices><host_device id=\"h\"><name>pci_1</name></host_device>"
                 "</host_devices>"),
       {"vm.host_devices"},
       kWarn,
       "pci_1"},
      {"VAL-26",
       with_more("<reported_devices><reported_device id=\"rd-id\"><name>rd-name</name>"
                 "</reported_device></reported_devices>"),
       {"vm.reported_devices"},
       kLog,
       "rd-name(rd-id)"},
      {"VAL-27", with_more("<quota id=\"q1\"/>"), {"vm.quota"}, kLog, "q1"},
      {"VAL-28", with(kBaseVm, "i6300esb", "diag288"), {"vm.watchdogs"}, kBlock, "diag288"},
      {"N watchdog action",
       with(kBaseVm, "<action>reset", "<action>dump"),
       {"vm.watchdogs.action"},
       kWarn,
       "dump"},
      {"VAL-29",
       with(kBaseVm, "<type>data<", "<type>iso<"),
       {"vm.cdroms.file.storage_domain.type"},
       kLog,
       "cd-1"},
      {"VAL-30", with_more("<floppies><floppy/></floppies>"), {"vm.floppies"}, kLog, "1"},
      {"VAL-32",
       with_more("<custom_emulated_machine>pc-i440fx-rhel7.6.0</custom_emulated_machine>"),
       {"vm.machine.type"},
       kLog,
       "pc-i440fx-rhel7.6.0"},
      {"VAL-33",
       with(kBaseVm, "Etc/GMT", "America/New_York"),
       {"vm.timezone"},
       kWarn,
       "America/New_York"},
      {"VAL-33 Windows",
       with(kBaseVm, "Etc/GMT", "Eastern Standard Time"),
       {"vm.timezone"},
       kWarn,
       "America/New_York"},
      {"VAL-33 unknown",
       with(kBaseVm, "Etc/GMT", "Nowhere Standard Time"),
       {"vm.timezone.unknown"},
       kWarn,
       "Nowhere Standard Time"},
      {"N custom CPU", with_more("<custom_cpu_model>Haswell</custom_cpu_model>"), {}, kLog},
      {"N unknown CPU",
       with_more("<custom_cpu_model>Pentium 4</custom_cpu_model>"),
       {"vm.custom_cpu_model"},
       kWarn,
       "Pentium 4"},
      {"N CPU with features",
       with_more("<custom_cpu_model>Haswell,+vmx</custom_cpu_model>"),
       {"vm.custom_cpu_model"},
       kWarn,
       "Haswell,+vmx"},
      {"N TPM", with_more("<tpm_enabled>true</tpm_enabled>"), {"vm.tpm"}, kWarn, "TPM"},
      {"N CD image",
       with(kBaseVm, "<file id=\"f1\">",
            "<disk id=\"f1\"><alias>os.iso</alias><provisioned_size>4096</provisioned_size>"
            "</disk><file id=\"f1\">"),
       {"vm.cdroms.image"},
       kLog,
       "os.iso"},
      {"N CD image that cannot be read",
       with(kBaseVm, "<file id=\"f1\">",
            "<disk id=\"f1\"><alias>os.iso</alias><provisioned_size>0</provisioned_size>"
            "</disk><file id=\"f1\">"),
       {"vm.cdroms.image"},
       kWarn,
       "no size"},
      {"N lease",
       with_more("<lease><storage_domain id=\"d9\"/></lease>"),
       {"vm.lease"},
       kLog,
       "d9"},
      {"N snapshots",
       with_more("<snapshots><snapshot><snapshot_type>active</snapshot_type></snapshot><snapshot>"
                 "<snapshot_type>regular</snapshot_type></snapshot></snapshots>"),
       {"vm.snapshots"},
       kWarn,
       "1 snapshots"},
      {"N snapshot at work",
       with_more("<snapshots><snapshot><snapshot_type>active</snapshot_type>"
                 "<snapshot_status>locked</snapshot_status></snapshot></snapshots>"),
       {"vm.snapshots.status"},
       kWarn,
       "locked"},
  });
}

TEST(OvirtNicRulesTest, Val50To56) {
  const std::string model = "<interface>virtio</interface><plugged>";
  const auto of_model = [&](const std::string& xml) {
    return with(kBaseVm, model, xml + "<plugged>");
  };
  const auto profile = [](const std::string& xml) {
    return with(kBaseVm, "<name>prof</name>", "<name>prof</name>" + xml);
  };
  check({
      {"VAL-50 spapr_vlan",
       of_model("<interface>spapr_vlan</interface>"),
       {"nic.interface"},
       kBlock,
       "spapr_vlan"},
      {"VAL-50 rtl8139_virtio",
       of_model("<interface>rtl8139_virtio</interface>"),
       {"nic.interface"},
       kBlock,
       "rtl8139_virtio"},
      {"VAL-50 garbage", of_model("<interface>garbage</interface>"), {"nic.interface"}, kBlock},
      {"VAL-50 empty", of_model("<interface/>"), {"nic.interface"}, kBlock},
      {"VAL-51 e1000", of_model("<interface>e1000</interface>"), {}, kLog},
      {"VAL-51 rtl8139", of_model("<interface>rtl8139</interface>"), {}, kLog},
      {"VAL-51 pci_passthrough",
       with(profile("<pass_through><mode>enabled</mode></pass_through>"), model,
            "<interface>pci_passthrough</interface><plugged>"),
       {},
       kLog},
      {"N pass-through without its profile",
       of_model("<interface>pci_passthrough</interface>"),
       {"nic.pci_passthrough"},
       kBlock},
      {"VAL-52", of_model(""), {"nic.interface"}, kBlock},
      {"VAL-53 on_boot", with(kBaseVm, "<on_boot>true<", "<on_boot>false<"), {"nic.on_boot"}, kLog},
      {"VAL-53 plugged",
       with(kBaseVm, "<plugged>true<", "<plugged>false<"),
       {"nic.plugged"},
       kWarn,
       "nic-1"},
      {"N plugged is not told",
       with(kBaseVm, "<plugged>true</plugged>", ""),
       {"nic.plugged"},
       kWarn,
       "does not say whether"},
      {"VAL-54 mirroring",
       profile("<port_mirroring>true</port_mirroring>"),
       {"nic.vnic_profile.port_mirroring"},
       kWarn},
      {"VAL-54 property",
       profile("<custom_properties><custom_property><name>x</name></custom_property>"
               "</custom_properties>"),
       {"nic.vnic_profile.custom_properties"},
       kWarn},
      {"VAL-54 filter",
       profile("<network_filter id=\"nf\"/>"),
       {"nic.vnic_profile.network_filter"},
       kWarn,
       "nf"},
      {"VAL-54 qos", profile("<qos id=\"q\"/>"), {"nic.vnic_profile.qos"}, kLog, "q"},
      {"N no profile",
       with(kBaseVm, "<vnic_profile id=\"p1\">", "<vnic_profile>"),
       {"nic.vnic_profile"},
       kWarn},
  });
  const std::string clean =
      "<nic id=\"nic-2\"><interface>e1000</interface><plugged>true</plugged><on_boot>true</on_boot>"
      "<vnic_profile id=\"p1\"/></nic></nics>";
  check({{"VAL-55", with(kBaseVm, "</nics>", clean), {}, kLog}});
  const std::string both = with(with(kBaseVm, "<plugged>true<", "<plugged>false<"), "</nics>",
                                with(clean, "<on_boot>true<", "<on_boot>false<"));
  EXPECT_EQ(ids_of(findings_of(both)), (Ids{"nic.plugged", "nic.on_boot"})) << "VAL-56";
}

TEST(OvirtDiskRulesTest, Val60To63Attachment) {
  const std::size_t begin = kBaseVm.find("<disk_attachments>");
  const std::string head = kBaseVm.substr(0, begin);
  const auto attachment = [](const std::string& xml) {
    return with(kBaseVm, "<interface>virtio</interface><bootable>", xml + "<bootable>");
  };
  check({
      {"VAL-60, LC-50", head + "<disk_attachments/></vm>", {"disk_attachments.exist"}, kBlock},
      {"VAL-60 absent", head + "</vm>", {"disk_attachments.exist"}, kBlock},
      {"N an attachment whose disk the account may not see",
       head + "<disk_attachments><disk_attachment id=\"att-9\"><interface>virtio</interface>"
              "</disk_attachment></disk_attachments></vm>",
       {"disk_attachments.disk"},
       kBlock,
       "att-9"},
      {"VAL-61 ide",
       attachment("<interface>ide</interface>"),
       {"disk_attachment.interface"},
       kBlock,
       "ide"},
      {"VAL-61 spapr",
       attachment("<interface>spapr_vscsi</interface>"),
       {"disk_attachment.interface"},
       kBlock},
      {"VAL-61 garbage",
       attachment("<interface>garbage</interface>"),
       {"disk_attachment.interface"},
       kBlock},
      {"VAL-61 empty", attachment("<interface/>"), {"disk_attachment.interface"}, kBlock},
      {"VAL-62 sata", attachment("<interface>sata</interface>"), {}, kLog},
      {"VAL-62 virtio_scsi", attachment("<interface>virtio_scsi</interface>"), {}, kLog},
      {"VAL-63 name",
       attachment("<logical_name>/dev/vda</logical_name>"),
       {"disk_attachment.logical_name"},
       kLog,
       "/dev/vda"},
      {"VAL-63 discard",
       attachment("<pass_discard>true</pass_discard>"),
       {"disk_attachment.pass_discard"},
       kLog},
      {"VAL-63 reservation",
       attachment("<uses_scsi_reservation>true</uses_scsi_reservation>"),
       {"disk_attachment.uses_scsi_reservation"},
       kBlock},
      {"N inactive",
       with(kBaseVm, "<active>true<", "<active>false<"),
       {"disk_attachment.active"},
       kWarn},
  });
}

TEST(OvirtDiskRulesTest, Val64To70Disk) {
  const auto disk = [](const std::string& xml) {
    return with(kBaseVm, "<alias>mydisk</alias>", "<alias>mydisk</alias>" + xml);
  };
  const auto instead = [](const std::string& old, const std::string& xml) {
    return with(kBaseVm, old, xml);
  };
  const std::string d = "disk_attachment.disk.";
  std::vector<Case> cases = {
      {"VAL-65 name", disk("<logical_name>vda</logical_name>"), {d + "logical_name"}, kLog, "vda"},
      {"VAL-65 reservation",
       disk("<uses_scsi_reservation>true</uses_scsi_reservation>"),
       {d + "uses_scsi_reservation"},
       kBlock},
      {"VAL-65 backup", disk("<backup>incremental</backup>"), {d + "backup"}, kWarn},
      {"VAL-65 lun",
       disk("<lun_storage><logical_units><logical_unit "
            "id=\"lun-7\"/></logical_units></lun_storage>"),
       {d + "lun_storage"},
       kBlock,
       "lun-7"},
      {"VAL-65 wipe",
       disk("<wipe_after_delete>true</wipe_after_delete>"),
       {d + "wipe_after_delete"},
       kLog},
      {"VAL-66 true",
       disk("<propagate_errors>true</propagate_errors>"),
       {d + "propagate_errors"},
       kLog},
      {"VAL-66 false",
       disk("<propagate_errors>false</propagate_errors>"),
       {d + "propagate_errors"},
       kLog},
      {"VAL-68 missing",
       instead("<storage_type>image</storage_type>", ""),
       {d + "storage_type"},
       kBlock},
      {"VAL-69", disk("<sgio>disabled</sgio>"), {}, kLog},
      {"LC-58 no size", instead("1073741824", "0"), {d + "provisioned_size"}, kBlock},
      {"N no size",
       instead("<provisioned_size>1073741824</provisioned_size>", ""),
       {d + "provisioned_size"},
       kBlock},
      {"N content",
       instead("<content_type>data", "<content_type>ovf_store"),
       {d + "content_type"},
       kBlock,
       "ovf_store"},
      {"N format", instead("<format>cow", "<format>vmdk"), {d + "format"}, kBlock, "vmdk"},
      {"N shareable", disk("<shareable>true</shareable>"), {d + "shareable"}, kWarn},
      {"N shared",
       disk("<shareable>true</shareable><vms><vm id=\"vm-1\"/><vm id=\"vm-2\"/></vms>"),
       {d + "shareable"},
       kBlock,
       "vm-2"},
      {"N shared with nobody",
       disk("<shareable>true</shareable><vms><vm id=\"vm-1\"/></vms>"),
       {},
       kLog},
  };
  for (const char* word : {"ide", "spapr_vscsi", "garbage", ""}) {
    cases.push_back({"VAL-64",
                     disk("<interface>" + std::string(word) + "</interface>"),
                     {d + "interface"},
                     kBlock,
                     word});
  }
  for (const char* word : {"illegal", "locked", "garbage", ""}) {
    cases.push_back({"VAL-67",
                     instead("<status>ok<", "<status>" + std::string(word) + "<"),
                     {d + "status"},
                     kBlock,
                     word});
  }
  for (const char* word : {"cinder", "lun", "managed_block_storage", "garbage", ""}) {
    cases.push_back({"VAL-68",
                     instead("<storage_type>image<", "<storage_type>" + std::string(word) + "<"),
                     {d + "storage_type"},
                     kBlock,
                     word});
  }
  for (const char* word : {"filtered", "unfiltered", "garbage", ""}) {
    cases.push_back(
        {"VAL-70", disk("<sgio>" + std::string(word) + "</sgio>"), {d + "sgio"}, kBlock, word});
  }
  check(cases);
}

TEST(OvirtDiskRulesTest, ADirectLunWithoutDomainIsReportedAndDoesNotCrash_Src31) {
  const std::size_t begin = kBaseVm.find("<disk_attachments>");
  const std::string xml = kBaseVm.substr(0, begin) +
                          "<disk_attachments><disk_attachment id=\"a\"><disk id=\"a\"><alias>l"
                          "</alias><storage_type>lun</storage_type><lun_storage/></disk>"
                          "</disk_attachment></disk_attachments></vm>";
  EXPECT_EQ(ids_of(findings_of(xml)),
            (Ids{"disk_attachment.disk.lun_storage", "disk_attachment.disk.storage_type"}));
}

TEST(OvirtRulesTest, EverythingIsReportedAtOnceInRuleOrder) {
  std::string xml = with_more("<usb><enabled>true</enabled></usb>");
  xml = with(xml, "<status>down<", "<status>suspended<");
  xml = with(xml, "<interface>virtio</interface><plugged>", "<plugged>");
  xml = with(xml, "<status>ok<", "<status>locked<");
  EXPECT_EQ(ids_of(findings_of(xml)),
            (Ids{"vm.status", "vm.usb", "nic.interface", "disk_attachment.disk.status"}));
}

TEST(OvirtTimeZonesTest, Val40AreCompatibleWithUtc) {
  for (const char* zone :
       {"", "Etc/GMT", "Etc/GMT+0", "Etc/UCT", "Etc/UTC", "Etc/Zulu", "Etc/Greenwich", "GMT",
        "GMT0", "GMT+0", "GMT-0", "Greenwich", "Africa/Abidjan", "Africa/Conakry",
        "America/Danmarkshavn", "GMT Standard Time", "Greenwich Standard Time"}) {
    EXPECT_TRUE(is_utc_compatible(zone, some_day())) << zone;
  }
}

TEST(OvirtTimeZonesTest, Val41AreNot) {
  for (const char* zone : {"Etc/GMT+1", "America/New_York", "Australia/Yancowinna",
                           "Africa/El_Aaiun", "America/Scoresbysund", "Antarctica/Troll",
                           "Atlantic/Madeira", "Europe/Belfast", "Europe/London", "Foo/Bar",
                           "FooBar", "FooBar+0", "../../../etc/passwd", "/etc/localtime"}) {
    EXPECT_FALSE(is_utc_compatible(zone, some_day())) << zone;
  }
}

TEST(OvirtTimeZonesTest, BrokenZoneDataIsRefused) {
  const WallTime now = some_day();
  EXPECT_FALSE(is_utc_zone_data("", now));
  EXPECT_FALSE(is_utc_zone_data("TZif2", now));
  std::string huge = "TZif2" + std::string(39, '\xff');
  EXPECT_FALSE(is_utc_zone_data(huge, now));
  EXPECT_FALSE(is_utc_zone_data("TZif2" + std::string(39, '\0'), now));
}

}  // namespace
}  // namespace vmferry::ovirt
