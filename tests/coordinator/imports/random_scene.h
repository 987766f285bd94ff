#pragma once

#include <random>
#include <string>
#include <vector>

#include "tests/coordinator/imports/scene.h"

// Imports, sources and clusters by chance, for what holds whatever they are.
namespace vmferry::imports::scenes {

class RandomScene {
 public:
  explicit RandomScene(unsigned seed) : random_(seed) {}

  Scene scene() {
    const bool is_ovirt = chance(2);
    Scene s = is_ovirt ? scenes::ovirt() : scenes::vmware();
    s.mappings = {};
    fill_vm(s.vm);
    for (int i = below(6); i > 0; --i) s.vm.nics.push_back(random_nic(is_ovirt));
    s.vm.disks.clear();
    for (int i = 1 + below(6); i > 0; --i) s.vm.disks.push_back(random_disk());
    fill_cluster(s.facts);
    if (chance(3)) s.import.spec.target_vm_name = "wanted";
    api::Mappings own = mappings(s.vm), shared = mappings(s.vm);
    section(s).mappings = chance(4) ? std::nullopt : std::optional(own);
    external_ = chance(2) ? std::nullopt : std::optional(shared);
    s.mappings = merge_mappings(section(s).mappings, external_);
    return s;
  }
  static api::SourceSection& section(Scene& s) {
    return s.vm.provider == ProviderKind::Ovirt ? *s.import.spec.ovirt : *s.import.spec.vmware;
  }
  // The ResourceMapping's part in the last scene.
  const std::optional<api::Mappings>& external() const { return external_; }

  int below(int limit) { return std::uniform_int_distribution<int>(0, limit - 1)(random_); }
  bool chance(int of) { return below(of) == 0; }
  std::mt19937& engine() { return random_; }

  // Few, so that they collide; some are no names at all.
  std::string text() {
    static const std::vector<std::string> kTexts = {"a",
                                                    "A",
                                                    "web 1",
                                                    "web-1",
                                                    "web.1",
                                                    "VM Network",
                                                    "nic1",
                                                    "nic 1",
                                                    "\xc3\xa9t\xc3\xa9",
                                                    "!!",
                                                    "",
                                                    "-x-",
                                                    std::string(80, 'n'),
                                                    std::string(80, 'n') + "2",
                                                    "\"q\": {x}",
                                                    "a/b",
                                                    "tab\there",
                                                    "\xe6\x97\xa5\xe6\x9c\xac"};
    return kTexts[static_cast<std::size_t>(below(static_cast<int>(kTexts.size())))];
  }

 private:
  std::string some(std::initializer_list<const char*> words) {
    return *(words.begin() + below(static_cast<int>(words.size())));
  }
  std::string key(const char* prefix, int of) { return prefix + std::to_string(below(of)); }

  void fill_vm(SourceVm& vm) {
    vm.name = text();
    vm.host_name = text();
    vm.description = text();
    vm.comment = text();
    vm.tags.clear();
    for (int i = below(3); i > 0; --i) vm.tags.push_back(text());
    vm.instance_type = text();
    vm.origin = text();
    vm.firmware = static_cast<Firmware>(below(4));
    vm.os_type = some({"rhel_8x64", "windows_10x64", "windows2019srv_64Guest", "ubuntu64Guest",
                       "linux x", "nothing", "windows_2022", "otherLinux64Guest"});
    vm.os_full_name = some({"", "Some linux", "Microsoft Windows"});
    vm.workload = some({"server", "desktop", "high_performance", ""});
    vm.memory_bytes = static_cast<std::uint64_t>(below(5)) * kGib / 2;
    vm.hugepages_kib = chance(2) ? std::nullopt : std::optional<std::uint64_t>(1048576);
    vm.cpu_dedicated = chance(4);
    vm.has_graphics = chance(2);
    vm.has_tpm = chance(3);
    vm.live_migratable = chance(3);
    vm.high_availability = chance(2);
    vm.watchdog_action = some({"", "reset", "dump"});
    vm.boot_devices = chance(2) ? std::vector<std::string>{}
                                : std::vector<std::string>{"network", "cdrom", "disk"};
    vm.nics.clear();
  }

  SourceNic random_nic(bool is_ovirt) {
    SourceNic one;
    one.name = text();
    one.mac = "00:00:00:00:00:01";
    one.model = some({"virtio", "e1000", "pci_passthrough"});
    one.plugged = !chance(6);
    one.connected = !chance(4);
    one.has_network = !chance(6);
    one.attachment = is_ovirt ? NicAttachment::VnicProfile : NicAttachment::Standard;
    if (!one.has_network) return one;
    one.sriov = is_ovirt && chance(5);
    if (!chance(8)) one.network_ids = {key("id-", 3)};
    if (is_ovirt) {
      one.network_names = {some({"n/p", "n/q", "/p", "n/\"x\""})};
    } else if (one.network_ids.empty() || !chance(6)) {
      one.network_names = {some({"VM Network", "label 1", "label 2", "x: {"})};
      if (chance(3)) one.network_names.push_back(some({"VM Network", "dv"}));
    }
    if (is_ovirt && one.network_ids.empty()) one.network_ids = {key("id-", 3)};
    return one;
  }

  SourceDisk random_disk() {
    const int number = ++disks_;
    SourceDisk one{.id = "disk-" + std::to_string(number),
                   .attachment_id = std::to_string(2000 + number),
                   .name = text(),
                   .size_bytes = static_cast<std::uint64_t>(1 + below(1 << 30))};
    one.bus = static_cast<DiskBus>(below(3));
    one.bootable = chance(3);
    one.read_only = chance(4);
    one.cdrom = chance(6);
    if (!chance(4)) {
      one.storage_id = key("ds-", 3);
      one.storage_name = some({"fast", "slow", "slow", "o\"k\""});
    }
    return one;
  }

  void fill_cluster(ClusterFacts& facts) {
    for (const char* name : {"big", "fast"}) {
      if (chance(2))
        facts.storage_classes[name] = kube::Object(json{{"metadata", {{"name", name}}}});
    }
    if (chance(3)) facts.storage_classes["big"] = facts.storage_classes["standard"];
    if (chance(4)) facts.storage_classes.erase("standard");
    if (facts.storage_classes.empty()) facts.storage_classes["big"] = kube::Object(json::object());
    for (const char* name : {"lab", "NETWORK-ATTACHMENT"}) {
      facts.network_attachments[{"ns", name}] =
          kube::Object(json{{"spec", {{"config", R"({"type": "sriov"})"}}}});
    }
    facts.has_cdi = chance(2);
  }

  // Items that the request's own rules take; some serve NICs and disks of the VM.
  api::Mappings mappings(const SourceVm& vm) {
    api::Mappings result;
    if (!chance(3)) result.networks.emplace();
    if (!chance(3)) result.storage.emplace();
    if (!chance(3)) result.disks.emplace();
    for (int i = below(4); result.networks && i > 0; --i) {
      api::NetworkMappingItem item;
      const SourceNic* nic = vm.nics.empty() ? nullptr : &vm.nics[index(vm.nics.size())];
      item.source = selector(nic ? nic->network_ids : std::vector<std::string>{"id-9"},
                             nic ? nic->network_names : std::vector<std::string>{"n/9"});
      const bool is_bad_name = item.source.name && vm.provider == ProviderKind::Ovirt &&
                               (item.source.name->starts_with('/') || item.source.name->empty());
      if (is_bad_name || (!item.source.id && !item.source.name)) continue;
      item.type = chance(2) ? "multus" : "pod";
      item.target.name = "lab";
      add(*result.networks, item);
    }
    for (auto* list : {&result.storage, &result.disks}) {
      for (int i = below(4); *list && i > 0; --i) {
        const SourceDisk& disk = vm.disks[index(vm.disks.size())];
        api::StorageMappingItem item;
        item.source = list == &result.disks ? selector({disk.id}, {disk.name})
                                            : selector({disk.storage_id}, {disk.storage_name});
        if (!item.source.id && !item.source.name) continue;
        item.target.name = some({"", "big", "fast", "missing"});
        if (chance(3)) item.volume_mode = some({"Block", "Filesystem"});
        add(**list, item);
      }
    }
    return result;
  }

  std::size_t index(std::size_t size) {
    return static_cast<std::size_t>(below(static_cast<int>(size)));
  }
  api::Selector selector(const std::vector<std::string>& ids,
                         const std::vector<std::string>& names) {
    api::Selector source;
    if (!ids.empty() && !ids[0].empty() && !chance(3)) source.id = ids[0];
    if (!names.empty() && !names[0].empty() && (!source.id || chance(2))) source.name = names[0];
    if (source.id && source.name && chance(5)) source.id = "another";
    return source;
  }
  // ADM-7 holds.
  template <typename Item>
  void add(std::vector<Item>& items, const Item& item) {
    for (const Item& other : items) {
      if (item.source.id && other.source.id) {
        if (*item.source.id == *other.source.id) return;
      } else if (item.source.name && other.source.name && *item.source.name == *other.source.name) {
        return;
      }
    }
    items.push_back(item);
  }

  std::mt19937 random_;
  std::optional<api::Mappings> external_;
  int disks_ = 0;
};

}  // namespace vmferry::imports::scenes
