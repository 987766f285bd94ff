#include "coordinator/provider/ovirt/translate.h"

#include "coordinator/provider/ovirt/time_zones.h"
#include "tests/coordinator/provider/ovirt/vm_xml.h"

namespace vmferry::ovirt {
namespace {

SourceVm source_of(const std::string& xml) { return translate(vm_of(xml)); }
std::string zone(const std::string& xml) { return with(kBaseVm, "<name>Etc/GMT</name>", xml); }

TEST(OvirtTranslateTest, Ov30And31And32And33Offsets) {
  const std::pair<const char*, std::optional<int>> cases[] = {{"+00:00", 0},
                                                              {"-00:00", 0},
                                                              {"+24:00", 86400},
                                                              {"-24:00", -86400},
                                                              {"+00:01", 60},
                                                              {"+00:10", 600},
                                                              {"+01:00", 3600},
                                                              {"+10:00", 36000},
                                                              {"+12:34", 45240},
                                                              {"-12:34", -45240},
                                                              {"-00:01", -60},
                                                              {"+00:0", std::nullopt},
                                                              {"+00:000", std::nullopt},
                                                              {"00:000", std::nullopt},
                                                              {"*00:00", std::nullopt},
                                                              {"00;00", std::nullopt},
                                                              {"+ab:00", std::nullopt},
                                                              {"+00:ab", std::nullopt},
                                                              {"+a:b:0", std::nullopt},
                                                              {"", std::nullopt}};
  for (const auto& [text, seconds] : cases) EXPECT_EQ(parse_utc_offset(text), seconds) << text;
}

TEST(OvirtTranslateTest, Ov34To38Clock) {
  struct Case {
    const char* name;
    std::string xml;
    std::optional<int> offset;
    std::string zone;
  };
  const Case cases[] = {
      {"OV-34", zone("<utc_offset>+01:00</utc_offset>"), 3600, ""},
      {"OV-34 offset wins", zone("<name>Etc/GMT</name><utc_offset>+01:00</utc_offset>"), 3600, ""},
      {"OV-35", kBaseVm, std::nullopt, "Etc/GMT"},
      {"OV-36", zone("<utc_offset>illegal</utc_offset>"), std::nullopt, ""},
      {"OV-37", with(kBaseVm, "<time_zone><name>Etc/GMT</name></time_zone>", ""), std::nullopt, ""},
      {"OV-38", zone("<name>GMT Standard Time</name>"), std::nullopt, "Europe/London"},
      {"unknown to Windows", zone("<name>Moon Standard Time</name>"), std::nullopt, ""},
  };
  for (const Case& c : cases) {
    const SourceVm vm = source_of(c.xml);
    EXPECT_EQ(vm.utc_offset_seconds, c.offset) << c.name;
    EXPECT_EQ(vm.time_zone, c.zone) << c.name;
  }
}

TEST(OvirtTranslateTest, Ov40TheBaseMachine) {
  const SourceVm vm = source_of(with_more(
      "<comment>vmcomment</comment><description>d</description><fqdn>h.example</fqdn>"
      "<instance_type id=\"i\"><name>server</name></instance_type>"
      "<sso><methods><method id=\"guest_agent\"/></methods></sso>"
      "<custom_properties><custom_property><name>hugepages</name><value>2048</value>"
      "</custom_property></custom_properties><os><type>rhel_8x64</type><boot><devices>"
      "<device>network</device><device>hd</device></devices></boot></os>"
      "<guest_operating_system><distribution>RHEL</distribution><version><full_version>7.7"
      "</full_version></version></guest_operating_system><console><enabled>true</enabled></"
      "console>"));
  EXPECT_EQ(vm.provider, ProviderKind::Ovirt);
  EXPECT_EQ(vm.name, "myvm");
  EXPECT_EQ(vm.native_id, "vm-1");
  EXPECT_EQ(vm.power, PowerState::Down);
  EXPECT_EQ(vm.cpu_cores, 1u);
  EXPECT_EQ(vm.cpu_sockets, 2u);
  EXPECT_EQ(vm.cpu_threads, 4u);
  EXPECT_EQ(vm.machine, "q35");
  EXPECT_EQ(vm.firmware, Firmware::Bios);
  EXPECT_EQ(vm.memory_bytes, 2147483648u);
  EXPECT_EQ(vm.hugepages_kib, 2048u);
  EXPECT_TRUE(vm.has_graphics);
  EXPECT_EQ(vm.serial_console, true);
  EXPECT_EQ(vm.origin, "ovirt");
  EXPECT_EQ(vm.instance_type, "server");
  EXPECT_EQ(vm.comment, "vmcomment");
  EXPECT_EQ(vm.sso, "guest_agent");
  EXPECT_EQ(vm.host_name, "h.example");
  EXPECT_EQ(vm.os_type, "rhel_8x64");
  EXPECT_EQ(vm.guest_distribution, "RHEL");
  EXPECT_EQ(vm.guest_version, "7.7");
  EXPECT_EQ(vm.workload, "server");
  EXPECT_EQ(vm.boot_devices, (std::vector<std::string>{"network", "disk"}));
  EXPECT_TRUE(vm.has_rng);
  EXPECT_EQ(vm.watchdog_action, "reset");
  EXPECT_EQ(vm.inventory_path, "Default/myvm");
}

TEST(OvirtTranslateTest, Ov41To54Attributes) {
  using Check = bool (*)(const SourceVm&);
  struct Case {
    const char* name;
    std::string xml;
    Check holds;
  };
  const std::string bios = "<type>q35_sea_bios</type>";
  const auto with_bios = [&](const std::string& type) {
    return with(kBaseVm, bios, "<type>" + type + "</type>");
  };
  const auto machine = [](const std::string& type) {
    return with_more("<custom_emulated_machine>" + type + "</custom_emulated_machine>");
  };
  const auto affinity = [](const std::string& word) {
    return with_more("<placement_policy><affinity>" + word + "</affinity></placement_policy>");
  };
  const auto serial = [](const std::string& xml) {
    return with_more("<serial_number>" + xml + "</serial_number>");
  };
  const std::string by_cluster = with_bios("cluster_default");
  const Case cases[] = {
      {"OV-41 on", kBaseVm, [](const SourceVm& v) { return v.high_availability; }},
      {"OV-41 off", with(kBaseVm, "<enabled>true<", "<enabled>false<"),
       [](const SourceVm& v) { return !v.high_availability; }},
      {"OV-42", machine("pc-i440fx-rhel7.6.0"),
       [](const SourceVm& v) { return v.machine == "q35"; }},
      {"OV-43", machine("pc-q35-rhel8.1.0"),
       [](const SourceVm& v) { return v.machine == "pc-q35-rhel8.1.0"; }},
      {"OV-44", kBaseVm,
       [](const SourceVm& v) { return v.cpu_dedicated && v.memory_bytes == 2147483648u; }},
      {"OV-45", with_bios("q35_ovmf"),
       [](const SourceVm& v) { return v.firmware == Firmware::Efi; }},
      {"OV-46", with_bios("q35_secure_boot"),
       [](const SourceVm& v) { return v.firmware == Firmware::EfiSecureBoot; }},
      {"OV-47 bios", by_cluster, [](const SourceVm& v) { return v.firmware == Firmware::Bios; }},
      {"OV-47 efi", with(by_cluster, "<bios_type>q35_sea_bios<", "<bios_type>q35_ovmf<"),
       [](const SourceVm& v) { return v.firmware == Firmware::Efi; }},
      {"OV-48", with_bios("i440fx_sea_bios"),
       [](const SourceVm& v) { return v.firmware == Firmware::Bios; }},
      {"unknown BIOS", with_bios("q36"),
       [](const SourceVm& v) { return v.firmware == Firmware::Unknown; }},
      {"OV-50",
       with(kBaseVm, "<graphics_console id=\"766e63\"><protocol>vnc</protocol></graphics_console>",
            ""),
       [](const SourceVm& v) { return !v.has_graphics; }},
      {"OV-51", with(kBaseVm, "x86_64", "undefined"),
       [](const SourceVm& v) { return v.machine.empty(); }},
      {"ppc64", with(kBaseVm, "x86_64", "ppc64"),
       [](const SourceVm& v) { return v.machine == "pseries"; }},
      {"OV-52",
       with_more(
           "<tags><tag id=\"1\"><name>a</name></tag><tag id=\"2\"><name>b</name></tag></tags>"),
       [](const SourceVm& v) {
         return v.tags == std::vector<std::string>{"a", "b"};
       }},
      {"OV-53", "<vm id=\"x\"><name>bare</name></vm>",
       [](const SourceVm& v) {
         return v.firmware == Firmware::Unknown && v.memory_bytes == 0 && !v.cpu_cores &&
                !v.cpu_dedicated && v.has_graphics && v.disks.empty() && v.nics.empty();
       }},
      {"OV-54", affinity("migratable"),
       [](const SourceVm& v) { return v.live_migratable && v.eviction == "LiveMigrate"; }},
      {"pinned", affinity("pinned"),
       [](const SourceVm& v) { return !v.live_migratable && v.eviction == "None"; }},
      {"serial of the VM", serial("<policy>vm</policy>"),
       [](const SourceVm& v) { return v.serial == "vm-1"; }},
      {"serial of its own", serial("<policy>custom</policy><value>s-1</value>"),
       [](const SourceVm& v) { return v.serial == "s-1"; }},
      {"serial of the host", serial("<policy>host</policy>"),
       [](const SourceVm& v) { return v.serial.empty(); }},
      {"sso without methods", with_more("<sso><methods/></sso>"),
       [](const SourceVm& v) { return v.sso == "disabled"; }},
      {"no sso", kBaseVm, [](const SourceVm& v) { return !v.sso.has_value(); }},
      {"watchdog poweroff", with(kBaseVm, "<action>reset", "<action>poweroff"),
       [](const SourceVm& v) { return v.watchdog_action == "poweroff"; }},
      {"watchdog dump", with(kBaseVm, "<action>reset", "<action>dump"),
       [](const SourceVm& v) { return v.watchdog_action == "reset"; }},
  };
  for (const Case& c : cases) EXPECT_TRUE(c.holds(source_of(c.xml))) << c.name;
}

TEST(OvirtTranslateTest, Ov60To67Nics) {
  const auto nic = [](const std::string& xml) { return source_of(xml).nics.at(0); };
  const SourceNic base = nic(kBaseVm);
  EXPECT_EQ(base.network_names, std::vector<std::string>{"net/prof"}) << "OV-60";
  EXPECT_EQ(base.network_ids, std::vector<std::string>{"p1"});
  EXPECT_EQ(base.mac, "56:6f:00:00:00:01") << "OV-63";
  EXPECT_EQ(base.model, "virtio");
  EXPECT_TRUE(base.plugged && base.connected && base.has_network && !base.sriov);
  EXPECT_TRUE(nic(with(kBaseVm, "<name>prof</name>",
                       "<name>prof</name><pass_through><mode>enabled</mode></pass_through>"))
                  .sriov)
      << "OV-61";
  const SourceNic bare = nic(with(kBaseVm, "<vnic_profile id=\"p1\">", "<vnic_profile>"));
  EXPECT_FALSE(bare.has_network) << "OV-64";
  EXPECT_EQ(bare.attachment, NicAttachment::None);
  EXPECT_FALSE(nic(with(kBaseVm, "<plugged>true<", "<plugged>false<")).plugged) << "OV-65";
  EXPECT_TRUE(nic(with(kBaseVm, "<plugged>true</plugged>", "")).plugged) << "OV-65 absent";
  const std::size_t begin = kBaseVm.find("<nics>");
  const std::size_t end = kBaseVm.find("</nics>");
  std::string none = kBaseVm;
  none.replace(begin, end - begin, "<nics>");
  EXPECT_TRUE(source_of(none).nics.empty()) << "OV-66";
}

TEST(OvirtTranslateTest, Ov70To83Disks) {
  const auto disk = [](const std::string& xml) { return source_of(xml).disks.at(0); };
  const SourceDisk base = disk(kBaseVm);
  EXPECT_EQ(base.id, "disk-ID") << "OV-70";
  EXPECT_EQ(base.attachment_id, "123");
  EXPECT_EQ(base.name, "mydisk");
  EXPECT_EQ(base.size_bytes, 1073741824u);
  EXPECT_EQ(base.allocated_bytes, 4096u);
  EXPECT_EQ(base.storage_id, "sd1");
  EXPECT_EQ(base.storage_name, "mystoragedomain");
  EXPECT_EQ(base.details.at(std::string(kDetailImageId)), "img-1");
  EXPECT_TRUE(disk(with(kBaseVm, "<active>", "<read_only>true</read_only><active>")).read_only)
      << "OV-79";
  const std::pair<const char*, DiskBus> buses[] = {
      {"virtio", DiskBus::Virtio}, {"sata", DiskBus::Sata}, {"virtio_scsi", DiskBus::Scsi}};
  for (const auto& [word, bus] : buses) {
    EXPECT_EQ(disk(with(kBaseVm, "<interface>virtio</interface><bootable>",
                        "<interface>" + std::string(word) + "</interface><bootable>"))
                  .bus,
              bus)
        << "OV-81 " << word;
  }
  // The engine lists them in any order: the boot disk is first, then by alias.
  const std::string more =
      "<disk_attachments><disk_attachment id=\"2\"><interface>sata</interface><disk id=\"2\">"
      "<alias>a2</alias></disk></disk_attachment><disk_attachment id=\"1\"><disk id=\"1\">"
      "<alias>a1</alias></disk></disk_attachment>";
  const SourceVm three = source_of(with(kBaseVm, "<disk_attachments>", more));
  ASSERT_EQ(three.disks.size(), 3u);
  EXPECT_EQ(three.disks[0].boot_order, 1) << "OV-82";
  EXPECT_EQ(three.disks[1].name, "a1");
  EXPECT_EQ(three.disks[1].boot_order, std::nullopt);
  EXPECT_EQ(three.disks[2].bus, DiskBus::Sata);
}

TEST(OvirtTranslateTest, LunsAndIllegalDisksAreNotTransferable_Src31) {
  const auto transferable = [](const std::string& old, const std::string& fresh) {
    const Vm vm = vm_of(with(kBaseVm, old, fresh));
    return why_not_transferable(*vm.disk_attachments->at(0).disk).empty();
  };
  EXPECT_FALSE(transferable("<status>ok", "<status>illegal"));
  EXPECT_FALSE(transferable("<storage_type>image", "<storage_type>lun"));
  EXPECT_FALSE(transferable("<content_type>data", "<content_type>ovf_store"));
  EXPECT_FALSE(transferable("1073741824", "0"));
  EXPECT_TRUE(transferable("<status>ok", "<status>locked")) << "this passes";
}

std::string cd_image(const std::string& status) {
  return with(
      kBaseVm,
      "<file id=\"f1\"><storage_domain id=\"d1\"><type>data</type></storage_domain></file>",
      "<file id=\"iso-1\"/><disk id=\"iso-1\"><alias>install.iso</alias><status>" + status +
          "</status><provisioned_size>4096</provisioned_size><content_type>iso</content_type>"
          "<storage_type>image</storage_type><shareable>true</shareable><storage_domains>"
          "<storage_domain id=\"sd1\"><name>mystoragedomain</name><type>data</type>"
          "</storage_domain></storage_domains></disk>");
}

TEST(OvirtTranslateTest, ACdImageOnADataDomainBecomesADiskBehindTheOthers) {
  const SourceVm vm = source_of(cd_image("ok"));
  ASSERT_EQ(vm.disks.size(), 2u);
  EXPECT_FALSE(vm.disks[0].cdrom);
  const SourceDisk& cd = vm.disks[1];
  EXPECT_TRUE(cd.cdrom);
  EXPECT_EQ(cd.id, "iso-1");
  EXPECT_EQ(cd.name, "install.iso");
  EXPECT_EQ(cd.bus, DiskBus::Sata);
  EXPECT_EQ(cd.size_bytes, 4096u);
  EXPECT_EQ(cd.storage_name, "mystoragedomain");
  EXPECT_FALSE(cd.bootable);
  EXPECT_NE(cd.attachment_id, vm.disks[0].attachment_id) << "claims are named after it";

  EXPECT_EQ(source_of(cd_image("illegal")).disks.size(), 1u) << "it cannot be read: left out";
  EXPECT_EQ(source_of(kBaseVm).disks.size(), 1u) << "a file on a domain for images is no disk";
}

TEST(OvirtTranslateTest, OnlyCpuModelsThatQemuKnowsAreKept) {
  const std::pair<const char*, const char*> cases[] = {
      {"Haswell", "Haswell"},
      {"Skylake-Client-IBRS", "Skylake-Client-IBRS"},
      {"EPYC-Rome-v2", "EPYC-Rome-v2"},
      {"Broadwell-noTSX,+spec-ctrl,-hle", "Broadwell-noTSX"},
      {"Haswellish", ""},
      {"Pentium 4", ""},
      {"", ""},
  };
  for (const auto& [custom, kept] : cases) {
    const SourceVm vm =
        source_of(with_more("<custom_cpu_model>" + std::string(custom) + "</custom_cpu_model>"));
    EXPECT_EQ(vm.cpu_model, kept) << custom;
  }
}

TEST(OvirtTranslateTest, EveryStatusHasAPowerState) {
  EXPECT_EQ(power_state_of("up"), PowerState::Up);
  EXPECT_EQ(power_state_of("down"), PowerState::Down);
  EXPECT_EQ(power_state_of("suspended"), PowerState::Suspended);
  EXPECT_EQ(power_state_of("powering_down"), PowerState::Changing);
  EXPECT_EQ(power_state_of("image_locked"), PowerState::Changing);
  EXPECT_EQ(power_state_of("not_responding"), PowerState::Unknown);
  EXPECT_EQ(power_state_of("a_new_word"), PowerState::Unknown);
}

TEST(OvirtTranslateTest, WindowsZonesBecomeZonesOfTheDatabase) {
  EXPECT_EQ(iana_zone("W. Europe Standard Time"), "Europe/Berlin");
  EXPECT_EQ(iana_zone("Central Standard Time (Mexico)"), "America/Mexico_City");
  EXPECT_EQ(iana_zone("Europe/Prague"), "Europe/Prague");
  EXPECT_EQ(iana_zone("Moon Standard Time"), std::nullopt);
}

}  // namespace
}  // namespace vmferry::ovirt
