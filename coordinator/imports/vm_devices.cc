#include "coordinator/imports/vm_parts.h"

namespace vmferry::imports {

namespace {

using nlohmann::json;

// KubeVirt knows three actions; the others of oVirt (dump, pause, none) become a reset.
std::string watchdog_action(const std::string& action) {
  return action == "poweroff" || action == "shutdown" ? action : "reset";
}

}  // namespace

void build_devices(const SourceVm& vm, const std::string& os, json& domain) {
  json& devices = domain["devices"];
  if (vm.has_graphics) {
    // Windows has no driver for a virtio tablet of its own.
    const char* const bus = is_windows(os) ? "usb" : "virtio";
    devices["inputs"] = json::array({{{"type", "tablet"}, {"name", "tablet"}, {"bus", bus}}});
    if (vm.provider == ProviderKind::Ovirt) devices["autoattachGraphicsDevice"] = true;
  } else {
    devices.erase("inputs");
    devices["autoattachGraphicsDevice"] = false;  // absent would mean attached
  }
  if (vm.serial_console) devices["autoattachSerialConsole"] = *vm.serial_console;
  if (vm.has_rng) object_at(devices, "rng");
  if (vm.has_tpm) object_at(devices, "tpm");
  if (!vm.watchdog_action.empty()) {
    devices["watchdog"] = {{"name", "watchdog"},
                           {"i6300esb", {{"action", watchdog_action(vm.watchdog_action)}}}};
  }
  if (vm.has_sound) devices["sound"] = {{"name", "sound"}, {"model", "ich9"}};
  if (vm.io_threads) domain["ioThreadsPolicy"] = "auto";
}

}  // namespace vmferry::imports
