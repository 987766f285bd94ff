#include "coordinator/imports/vm_parts.h"

namespace vmferry::imports {

namespace {

using nlohmann::json;

// DECISION-M3: the guest boots as it did. EFI without a word on secure boot would get it, since on
// is KubeVirt's default.
json bootloader(Firmware firmware) {
  switch (firmware) {
    case Firmware::Efi:
      return {{"efi", {{"secureBoot", false}}}};
    case Firmware::EfiSecureBoot:
      return {{"efi", {{"secureBoot", true}}}};
    case Firmware::Bios:
    case Firmware::Unknown:
      break;
  }
  return {{"bios", json::object()}};
}

std::string machine_type(const SourceVm& vm) {
  if (vm.provider == ProviderKind::Vmware) return "q35";
  // KubeVirt has no i440fx: such a machine becomes the architecture's usual one.
  if (!vm.machine.empty() && vm.machine.find("i440fx") == std::string::npos) return vm.machine;
  if (vm.architecture == "x86_64") return "q35";
  if (vm.architecture == "ppc64") return "pseries";
  return {};
}

}  // namespace

void build_firmware(const SourceVm& vm, json& domain) {
  json& firmware = object_at(domain, "firmware");
  // oVirt without any BIOS type is reported by validation; the template's loader would be a guess.
  if (vm.firmware == Firmware::Unknown && vm.provider == ProviderKind::Ovirt) {
    firmware.erase("bootloader");
  } else {
    firmware["bootloader"] = bootloader(vm.firmware);
  }
  if (!vm.serial.empty()) firmware["serial"] = vm.serial;
  if (!vm.firmware_uuid.empty()) firmware["uuid"] = vm.firmware_uuid;
  if (firmware.empty()) domain.erase("firmware");

  if (vm.firmware == Firmware::EfiSecureBoot) {
    object_at(object_at(domain, "features"), "smm")["enabled"] = true;
  }
  if (const std::string type = machine_type(vm); !type.empty())
    domain["machine"] = {{"type", type}};
}

void build_clock(const SourceVm& vm, json& domain) {
  json& clock = object_at(domain, "clock");  // its timers stay
  clock.erase("utc");
  clock.erase("timezone");
  if (vm.utc_offset_seconds) {
    clock["utc"] = {{"offsetSeconds", *vm.utc_offset_seconds}};
  } else if (!vm.time_zone.empty()) {
    clock["timezone"] = vm.time_zone;
  } else {
    clock["utc"] = json::object();
  }
  object_at(clock, "timer");
}

}  // namespace vmferry::imports
