#include "tests/coordinator/provider/ovirt/rules_scene.h"

namespace vmferry::ovirt {
namespace {

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

TEST(OvirtRulesTest, EverythingIsReportedAtOnceInRuleOrder) {
  std::string xml = with_more("<usb><enabled>true</enabled></usb>");
  xml = with(xml, "<status>down<", "<status>suspended<");
  xml = with(xml, "<interface>virtio</interface><plugged>", "<plugged>");
  xml = with(xml, "<status>ok<", "<status>locked<");
  EXPECT_EQ(ids_of(findings_of(xml)),
            (Ids{"vm.status", "vm.usb", "nic.interface", "disk_attachment.disk.status"}));
}

}  // namespace
}  // namespace vmferry::ovirt
