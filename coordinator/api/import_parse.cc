#include <utility>

#include "common/catalogue.h"
#include "coordinator/api/fields.h"
#include "coordinator/api/import.h"
#include "coordinator/api/import_salvage.h"
#include "coordinator/provider/finding_words.h"

namespace vmferry::api {
namespace {

Result<ObjectIdentifier> parse_identifier(const Fields& fields) {
  return ObjectIdentifier{.name = TRY(fields.text_or_empty("name")),
                          .ns = TRY(fields.text("namespace"))};
}

// An absent identifier is an empty one: whether it may be absent is for validation to say.
Result<ObjectIdentifier> parse_identifier_at(const Fields& parent, const char* name) {
  const std::optional<Fields> fields = TRY(parent.object(name));
  if (!fields) return ObjectIdentifier{};
  return parse_identifier(*fields);
}

Result<Selector> parse_selector(const Fields& item) {
  const std::optional<Fields> fields = TRY(item.object("source"));
  if (!fields) return Selector{};
  return Selector{.id = TRY(fields->text("id")), .name = TRY(fields->text("name"))};
}

Result<NetworkMappingItem> parse_network_item(const Fields& item) {
  return NetworkMappingItem{.source = TRY(parse_selector(item)),
                            .target = TRY(parse_identifier_at(item, "target")),
                            .type = TRY(item.text("type"))};
}

Result<StorageMappingItem> parse_storage_item(const Fields& item) {
  return StorageMappingItem{.source = TRY(parse_selector(item)),
                            .target = TRY(parse_identifier_at(item, "target")),
                            .volume_mode = TRY(item.text("volumeMode")),
                            .access_mode = TRY(item.text("accessMode")),
                            .type = TRY(item.text("type"))};
}

template <typename Item>
Result<std::optional<std::vector<Item>>> parse_items(const Fields& mappings, const char* name,
                                                     Result<Item> (*parse)(const Fields&)) {
  const std::optional<std::vector<Fields>> list = TRY(mappings.objects(name));
  if (!list) return std::optional<std::vector<Item>>();
  std::vector<Item> items;
  for (const Fields& fields : *list) items.push_back(TRY(parse(fields)));
  return std::optional<std::vector<Item>>(std::move(items));
}

Result<std::optional<Mappings>> parse_mappings(const Fields& parent, const char* name) {
  const std::optional<Fields> fields = TRY(parent.object(name));
  if (!fields) return std::optional<Mappings>();
  Mappings mappings{.networks = TRY(parse_items(*fields, "networkMappings", parse_network_item)),
                    .storage = TRY(parse_items(*fields, "storageMappings", parse_storage_item)),
                    .disks = TRY(parse_items(*fields, "diskMappings", parse_storage_item))};
  return std::optional<Mappings>(std::move(mappings));
}

// Without its mappings.
Result<SourceSection> parse_vm(const Fields& fields) {
  SourceSection section;
  if (const std::optional<Fields> vm = TRY(fields.object("vm"))) {
    section.vm_id = TRY(vm->text_or_empty("id"));
    section.vm_name = TRY(vm->text_or_empty("name"));
    if (const std::optional<Fields> cluster = TRY(vm->object("cluster"))) {
      section.cluster_id = TRY(cluster->text_or_empty("id"));
      section.cluster_name = TRY(cluster->text_or_empty("name"));
    }
  }
  return section;
}

Result<std::optional<SourceSection>> parse_section(const Fields& source, const char* name) {
  const std::optional<Fields> fields = TRY(source.object(name));
  if (!fields) return std::optional<SourceSection>();
  SourceSection section = TRY(parse_vm(*fields));
  section.mappings = TRY(parse_mappings(*fields, "mappings"));
  return std::optional<SourceSection>(std::move(section));
}

// Nothing: it is absent. Whatever it holds, there is one.
std::optional<SourceSection> salvage_section(const kube::Object& import, const char* name) {
  const nlohmann::json::json_pointer path(fmt::format("/spec/source/{}", name));
  const nlohmann::json& all = import.json();
  if (!all.contains(path) || all.at(path).is_null()) return std::nullopt;
  const auto fields = Fields::of(all.at(path), "");
  const auto section = fields ? parse_vm(*fields) : Result<SourceSection>(SourceSection{});
  return section ? *section : SourceSection{};
}

Result<ImportSpec> parse_spec(const Fields& fields) {
  ImportSpec spec;
  spec.credentials_secret = TRY(parse_identifier_at(fields, "providerCredentialsSecret"));
  if (const std::optional<Fields> mapping = TRY(fields.object("resourceMapping"))) {
    spec.resource_mapping = TRY(parse_identifier(*mapping));
  }
  if (const std::optional<Fields> source = TRY(fields.object("source"))) {
    spec.ovirt = TRY(parse_section(*source, "ovirt"));
    spec.vmware = TRY(parse_section(*source, "vmware"));
  }
  spec.target_vm_name = TRY(fields.text("targetVmName"));
  spec.start_vm = TRY(fields.boolean("startVm"));
  const std::optional<bool> warm = TRY(fields.boolean("warm"));
  spec.warm = warm.value_or(false);
  spec.finalize_date = TRY(fields.text("finalizeDate"));
  return spec;
}

Result<Condition> parse_condition(const Fields& fields) {
  return Condition{.type = TRY(fields.text_or_empty("type")),
                   .status = TRY(fields.text_or_empty("status")),
                   .reason = TRY(fields.text_or_empty("reason")),
                   .message = TRY(fields.text_or_empty("message")),
                   .last_heartbeat_time = TRY(fields.text_or_empty("lastHeartbeatTime")),
                   .last_transition_time = TRY(fields.text_or_empty("lastTransitionTime"))};
}

Result<DiskStatus> parse_disk(const Fields& fields) {
  DiskStatus disk;
  disk.name = TRY(fields.text_or_empty("name"));
  disk.source_disk = TRY(fields.text_or_empty("sourceDisk"));
  disk.claim = TRY(fields.text_or_empty("claim"));
  disk.phase = TRY(fields.text_or_empty("phase"));
  disk.virtual_bytes = TRY(fields.count("virtualBytes"));
  disk.to_move_bytes = TRY(fields.count("toMoveBytes"));
  disk.moved_bytes = TRY(fields.count("movedBytes"));
  disk.resumed_bytes = TRY(fields.count("resumedBytes"));
  disk.bytes_per_second = TRY(fields.count("bytesPerSecond"));
  disk.node = TRY(fields.text_or_empty("node"));
  const std::uint64_t attempt = TRY(fields.count("attempt"));
  if (attempt > UINT32_MAX) {
    return coded_error(ErrorKind::InvalidArgument, code::kManifest,
                       "attempt {} of disk '{}' is out of range", attempt, disk.name);
  }
  disk.attempt = static_cast<std::uint32_t>(attempt);
  disk.digest = TRY(fields.text_or_empty("digest"));
  const std::optional<bool> verified = TRY(fields.boolean("verified"));
  disk.verified = verified.value_or(false);
  disk.last_error = TRY(fields.text_or_empty("lastError"));
  disk.source_path = TRY(fields.text_or_empty("sourcePath"));
  return disk;
}

Result<Finding> parse_finding(const Fields& fields) {
  const std::string level = TRY(fields.text_or_empty("level"));
  const std::string group = TRY(fields.text_or_empty("group"));
  return Finding{.rule = TRY(fields.text_or_empty("rule")),
                 .level = parse_finding_level(level).value_or(FindingLevel::Log),
                 .group = group == to_string(FindingGroup::Mapping) ? FindingGroup::Mapping
                                                                    : FindingGroup::Rules,
                 .text = TRY(fields.text_or_empty("text")),
                 .remedy = TRY(fields.text_or_empty("remedy"))};
}

Result<ImportStatus> parse_status(const Fields& fields) {
  ImportStatus status;
  status.target_vm_name = TRY(fields.text_or_empty("targetVmName"));
  if (const auto conditions = TRY(fields.objects("conditions"))) {
    for (const Fields& item : *conditions) status.conditions.push_back(TRY(parse_condition(item)));
  }
  if (const auto volumes = TRY(fields.objects("dataVolumes"))) {
    for (const Fields& item : *volumes) {
      status.data_volumes.push_back(TRY(item.text_or_empty("name")));
    }
  }
  if (const auto disks = TRY(fields.objects("disks"))) {
    for (const Fields& item : *disks) status.disks.push_back(TRY(parse_disk(item)));
  }
  if (const auto findings = TRY(fields.objects("findings"))) {
    for (const Fields& item : *findings) status.findings.push_back(TRY(parse_finding(item)));
  }
  return status;
}

}  // namespace

Result<VirtualMachineImport> parse_import(const kube::Object& object) {
  const Fields root = TRY(Fields::of(object.json(), ""));
  VirtualMachineImport import;
  import.object = object;
  if (const std::optional<Fields> spec = TRY(root.object("spec"))) {
    import.spec = TRY(parse_spec(*spec));
  }
  if (const std::optional<Fields> status = TRY(root.object("status"))) {
    import.status = TRY(parse_status(*status));
  }
  return import;
}

VirtualMachineImport salvage_import(const kube::Object& object) {
  VirtualMachineImport import;
  import.object = object;
  import.spec.ovirt = salvage_section(object, "ovirt");
  import.spec.vmware = salvage_section(object, "vmware");
  if (!import.spec.ovirt && !import.spec.vmware) import.spec.vmware.emplace();
  const auto root = Fields::of(object.json(), "");
  if (!root) return import;
  if (const auto spec = root->object("spec"); spec && *spec) {
    if (auto secret = parse_identifier_at(**spec, "providerCredentialsSecret")) {
      import.spec.credentials_secret = *std::move(secret);
    }
  }
  const auto status = root->object("status");
  if (!status || !*status) return import;
  if (auto name = (*status)->text_or_empty("targetVmName")) {
    import.status.target_vm_name = *std::move(name);
  }
  const auto conditions = (*status)->objects("conditions");
  if (!conditions || !*conditions) return import;
  for (const Fields& item : **conditions) {
    if (auto condition = parse_condition(item)) {
      import.status.conditions.push_back(*std::move(condition));
    }
  }
  return import;
}

Result<ResourceMapping> parse_resource_mapping(const kube::Object& object) {
  const Fields root = TRY(Fields::of(object.json(), ""));
  const std::optional<Fields> spec = TRY(root.object("spec"));
  if (!spec) return ResourceMapping{};
  return ResourceMapping{.ovirt = TRY(parse_mappings(*spec, "ovirt")),
                         .vmware = TRY(parse_mappings(*spec, "vmware"))};
}

}  // namespace vmferry::api
