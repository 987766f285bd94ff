#include "tests/coordinator/provider/ovirt/rules_scene.h"

namespace vmferry::ovirt {
namespace {

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

}  // namespace
}  // namespace vmferry::ovirt
