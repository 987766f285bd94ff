#pragma once

#include <gtest/gtest.h>

#include <string>

#include "coordinator/provider/ovirt/model.h"

namespace vmferry::ovirt {

// The machine that validation.md 9 starts from: no rule about the machine finds anything.
inline const std::string kBaseVm = R"(<vm id="vm-1" href="/ovirt-engine/api/vms/vm-1">
  <name>myvm</name><status>down</status><type>server</type><memory>2147483648</memory>
  <bios><type>q35_sea_bios</type></bios>
  <cpu><architecture>x86_64</architecture>
    <topology><cores>1</cores><sockets>2</sockets><threads>4</threads></topology>
    <cpu_tune><vcpu_pins><vcpu_pin><vcpu>0</vcpu><cpu_set>0</cpu_set></vcpu_pin>
      <vcpu_pin><vcpu>1</vcpu><cpu_set>1</cpu_set></vcpu_pin></vcpu_pins></cpu_tune></cpu>
  <high_availability><enabled>true</enabled></high_availability>
  <origin>ovirt</origin><rng_device><source>urandom</source></rng_device>
  <time_zone><name>Etc/GMT</name></time_zone>
  <!--more-->
  <cluster id="c1"><name>Default</name><bios_type>q35_sea_bios</bios_type></cluster>
  <graphics_consoles><graphics_console id="766e63"><protocol>vnc</protocol></graphics_console></graphics_consoles>
  <watchdogs><watchdog><model>i6300esb</model><action>reset</action></watchdog></watchdogs>
  <cdroms><cdrom id="cd-1"><file id="f1"><storage_domain id="d1"><type>data</type></storage_domain></file></cdrom></cdroms>
  <nics><nic id="nic-1"><name>nic1</name><interface>virtio</interface><plugged>true</plugged>
    <linked>true</linked><on_boot>true</on_boot><mac><address>56:6f:00:00:00:01</address></mac>
    <vnic_profile id="p1"><name>prof</name><network id="n1"><name>net</name></network></vnic_profile></nic></nics>
  <disk_attachments><disk_attachment id="123"><interface>virtio</interface><bootable>true</bootable>
    <active>true</active><disk id="disk-ID"><alias>mydisk</alias><provisioned_size>1073741824</provisioned_size>
    <total_size>4096</total_size><image_id>img-1</image_id><format>cow</format><status>ok</status>
    <storage_type>image</storage_type><content_type>data</content_type>
    <storage_domains><storage_domain id="sd1"><name>mystoragedomain</name></storage_domain></storage_domains>
    </disk></disk_attachment></disk_attachments>
</vm>)";

// `text` with its first `old` replaced; fails the test when it is not there.
inline std::string with(std::string text, const std::string& old, const std::string& fresh) {
  const std::size_t at = text.find(old);
  if (at == std::string::npos) {
    ADD_FAILURE() << "the base holds no " << old;
    return text;
  }
  return text.replace(at, old.size(), fresh);
}

// The base with more elements.
inline std::string with_more(const std::string& elements) {
  return with(kBaseVm, "<!--more-->", elements);
}

inline Vm vm_of(const std::string& xml) {
  const Result<Document> document = Document::parse_xml(xml);
  if (!document) {
    ADD_FAILURE() << to_string(document.error());
    return {};
  }
  return parse_vm(document->root());
}

}  // namespace vmferry::ovirt
