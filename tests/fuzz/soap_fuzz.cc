#include <cstddef>
#include <cstdint>
#include <string>

#include "common/vmdk_descriptor.h"
#include "coordinator/provider/vmware/client.h"
#include "coordinator/provider/vmware/disk_access.h"
#include "coordinator/provider/vmware/export_lease.h"
#include "coordinator/provider/vmware/model.h"
#include "coordinator/provider/vmware/power.h"
#include "coordinator/provider/vmware/properties.h"
#include "coordinator/provider/vmware/rules.h"
#include "coordinator/provider/vmware/translate.h"

// Whatever a server sends, reading, translating and judging it ends. Corpus: tests/data/vmware.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace vmferry::vmware;
  const std::string text(reinterpret_cast<const char*>(data), size);
  if (const auto descriptor = vmferry::parse_vmdk_descriptor(text)) {
    const auto layout = flat_layout(*descriptor, 4096);
    static_cast<void>(layout.ok());
  }
  const auto reply = SoapReply::parse(text);
  if (!reply) return 0;
  static_cast<void>(service_content_of(*reply));
  for (const ObjectProperties& object : objects_of(*reply)) {
    const VmModel vm = read_vm(object);
    static_cast<void>(translate(vm, {}));
    static_cast<void>(find_problems(vm));
    static_cast<void>(find_warm_problems(vm));
    static_cast<void>(read_network(object));
    static_cast<void>(task_failure(object));
    const LeaseInfo lease = lease_info(object);
    for (const Device& device : vm.devices) static_cast<void>(url_of_disk(lease, vm, device));
  }
  return 0;
}
