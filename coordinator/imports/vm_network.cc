#include <set>

#include "coordinator/imports/names.h"
#include "coordinator/imports/vm_parts.h"

namespace vmferry::imports {

namespace {

using nlohmann::json;

std::string wanted_name(ProviderKind provider, const SourceNic& nic, std::size_t index) {
  // The first NIC of a VMware VM keeps the name that older releases gave it: its network's.
  const bool old_name = provider == ProviderKind::Vmware && index == 0 &&
                        nic.attachment == NicAttachment::Standard && !nic.network_names.empty();
  const Result<std::string> name = normalize_label(old_name ? nic.network_names.front() : nic.name);
  return name ? *name : fmt::format("nic{}", index + 1);
}

std::string interface_model(const BuildInput& input, const SourceNic& nic) {
  if (input.vm.provider == ProviderKind::Vmware) {
    // Without a conversion Windows has no virtio driver, and would come up without a network.
    return is_windows(input.os) && !input.converted ? "e1000e" : "virtio";
  }
  // The models of KubeVirt; validation blocks others, pci_passthrough without SR-IOV among them.
  for (const char* known : {"virtio", "e1000", "e1000e", "rtl8139", "ne2k_pci", "pcnet"}) {
    if (nic.model == known) return nic.model;
  }
  return {};
}

json make_interface(const BuildInput& input, const SourceNic& nic, const NetworkChoice& choice,
                    const std::string& name) {
  json entry = {{"name", name}};
  if (!nic.mac.empty()) entry["macAddress"] = nic.mac;
  // Somebody has taken this cable out, perhaps for a reason: it stays out.
  const bool sriov = nic.sriov && choice.multus;
  if (!nic.connected && !sriov) entry["state"] = "down";
  if (!sriov) {
    if (const std::string model = interface_model(input, nic); !model.empty()) {
      entry["model"] = model;
    }
  }
  entry[sriov ? "sriov" : choice.multus ? "bridge" : "masquerade"] = json::object();
  return entry;
}

}  // namespace

std::vector<std::string> interface_names(ProviderKind provider,
                                         const std::vector<const SourceNic*>& nics) {
  constexpr std::size_t kLongest = 63;
  std::vector<std::string> names;
  std::set<std::string> taken;
  for (std::size_t i = 0; i < nics.size(); ++i) {
    const std::string wanted = wanted_name(provider, *nics[i], i);
    std::string name = wanted;
    for (int suffix = 2; !taken.insert(name).second; ++suffix) {
      const std::string end = fmt::format("-{}", suffix);
      name = wanted.substr(0, kLongest - end.size()) + end;
    }
    names.push_back(name);
  }
  return names;
}

void build_networks(const BuildInput& input, json& spec) {
  std::vector<const SourceNic*> nics;
  std::vector<NetworkChoice> choices;
  for (const SourceNic& nic : input.vm.nics) {
    if (!nic.plugged || !nic.has_network) continue;  // DECISION-M4, with a finding each
    const std::optional<NetworkChoice> choice =
        resolve_network(input.mappings, nic, input.import.object.ns());
    if (!choice) continue;  // blocked by validation, as is an unknown type
    if (!choice->multus && !choice->type.empty() && choice->type != "pod") continue;
    nics.push_back(&nic);
    choices.push_back(*choice);
  }

  const std::vector<std::string> names = interface_names(input.vm.provider, nics);
  json networks = json::array();
  json interfaces = json::array();
  for (std::size_t i = 0; i < nics.size(); ++i) {
    json network = {{"name", names[i]}};
    if (choices[i].multus) {
      network["multus"] = {{"networkName", choices[i].network_name}};
    } else {
      network["pod"] = json::object();
    }
    networks.push_back(std::move(network));
    interfaces.push_back(make_interface(input, *nics[i], choices[i], names[i]));
  }

  json& devices = spec["domain"]["devices"];
  const bool any = !interfaces.empty();
  if (input.vm.provider == ProviderKind::Vmware) {
    devices["networkInterfaceMultiqueue"] = any;
  } else if (!any) {
    devices.erase("networkInterfaceMultiqueue");
  }
  if (any) {
    devices.erase("autoattachPodInterface");
  } else {
    devices["autoattachPodInterface"] = false;  // else KubeVirt adds a NIC the source never had
  }
  spec["networks"] = std::move(networks);
  devices["interfaces"] = std::move(interfaces);
}

}  // namespace vmferry::imports
