#include <algorithm>

#include "common/catalogue.h"
#include "coordinator/imports/steps.h"

// The finished disks get their owners. Where CDI is installed each claim is adopted by a DataVolume
// of its name. CDI takes a claim that exists before its DataVolume only if the claim is annotated
// as populated for it, and then makes the DataVolume the claim's controller, which fails while
// another is (containerized-data-importer, pkg/controller/datavolume/controller-base.go); so the
// import steps back to being a plain owner first. The DataVolume becomes Succeeded without a byte
// being moved.
namespace vmferry::imports {
namespace {

using kube::types::kDataVolume;
using kube::types::kPersistentVolumeClaim;
using nlohmann::json;

constexpr std::chrono::seconds kAdoptionPoll{2};
constexpr const char* kPopulatedFor = "cdi.kubevirt.io/storage.populatedFor";

json reference_json(const kube::OwnerReference& owner) {
  return {{"apiVersion", owner.api_version},
          {"kind", owner.kind},
          {"name", owner.name},
          {"uid", owner.uid},
          {"controller", owner.controller},
          {"blockOwnerDeletion", owner.block_owner_deletion}};
}

json references(const std::vector<kube::OwnerReference>& owners) {
  json list = json::array();
  for (const kube::OwnerReference& owner : owners) list.push_back(reference_json(owner));
  return list;
}

// Writes the owners of an object as it was read; who was faster makes it a conflict, and the pass
// comes back. The object may have gone meanwhile.
Result<void> set_owners(Pass& pass, const kube::ResourceType& type, const kube::Object& object,
                        const std::vector<kube::OwnerReference>& owners) {
  if (owners == object.owners()) return {};
  const auto patched = pass.parts.writer.patch(
      type, object.key(),
      {{"metadata",
        {{"ownerReferences", references(owners)}, {"resourceVersion", object.resource_version()}}}},
      {}, pass.stop);
  if (!patched && patched.error().kind() != ErrorKind::NotFound) return patched.error();
  return {};
}

// Replaces the references to the import and to the VM, if any, by `ours`; others keep theirs.
Result<void> own(Pass& pass, const kube::ResourceType& type, const kube::ObjectKey& key,
                 const std::string& vm_uid, const std::vector<kube::OwnerReference>& ours) {
  const auto object = TRY(kube::get_if_exists(pass.parts.reader, type, key, pass.stop));
  if (!object) return {};
  std::vector<kube::OwnerReference> owners = object->owners();
  std::erase_if(owners,
                [&](const auto& owner) { return owner.uid == pass.uid() || owner.uid == vm_uid; });
  owners.insert(owners.begin(), ours.begin(), ours.end());
  return set_owners(pass, type, *object, owners);
}

// Marks the claim as holding this DataVolume's data, and lets CDI become its controller.
Result<void> offer_claim(Pass& pass, const PlannedDisk& disk) {
  const kube::ObjectKey key{pass.key().ns, disk.claim};
  const kube::Object claim = TRY(pass.parts.reader.get(kPersistentVolumeClaim, key, pass.stop));
  std::vector<kube::OwnerReference> owners = claim.owners();
  bool is_controller = false;
  for (kube::OwnerReference& owner : owners) {
    if (owner.uid != pass.uid()) continue;
    is_controller = is_controller || owner.controller;
    owner.controller = false;
  }
  if (!is_controller && claim.annotation(kPopulatedFor) == disk.claim) return {};
  TRY(pass.parts.writer.patch(kPersistentVolumeClaim, key,
                              {{"metadata",
                                {{"annotations", {{kPopulatedFor, disk.claim}}},
                                 {"ownerReferences", references(owners)},
                                 {"resourceVersion", claim.resource_version()}}}},
                              {}, pass.stop));
  return {};
}

// Says what the claim is; there is nothing for CDI to fetch.
kube::Object data_volume(const Pass& pass, const PlannedDisk& disk, const kube::Object& claim) {
  const json& spec = claim.json().at("spec");
  json labels{{std::string(api::kImportUid), pass.uid()}};
  const auto all = pass.import.object.labels();
  if (const auto tracker = all.find(std::string(api::kTracker)); tracker != all.end()) {
    labels[tracker->first] = tracker->second;
  }
  json annotations{{"cdi.kubevirt.io/storage.prePopulated", disk.claim},
                   // CDI may be set to remove finished DataVolumes; the VM refers to this one.
                   {"cdi.kubevirt.io/storage.deleteAfterCompletion", "false"}};
  for (const char* network : {"k8s.v1.cni.cncf.io/networks", "v1.multus-cni.io/default-network"}) {
    const auto value = pass.import.object.annotation(network);
    if (value && !value->empty()) annotations[network] = *value;
  }
  json wanted{{"accessModes", spec.value("accessModes", json::array())},
              {"resources", {{"requests", {{"storage", std::to_string(disk.request_bytes)}}}}},
              {"volumeMode", disk.volume_mode}};
  if (spec.contains("storageClassName")) wanted["storageClassName"] = spec["storageClassName"];
  return kube::Object(
      {{"apiVersion", kDataVolume.api_version},
       {"kind", kDataVolume.kind},
       {"metadata",
        {{"name", disk.claim},
         {"namespace", pass.key().ns},
         {"labels", std::move(labels)},
         {"annotations", std::move(annotations)},
         {"ownerReferences", references({pass.owner()})}}},
       {"spec", {{"source", {{"blank", json::object()}}}, {"pvc", std::move(wanted)}}}});
}

// True: the DataVolume has the claim. `waiting_for` says what is missing.
Result<bool> adopt(Pass& pass, const PlannedDisk& disk, std::string& waiting_for) {
  const kube::ObjectKey key{pass.key().ns, disk.claim};
  auto existing = TRY(kube::get_if_exists(pass.parts.reader, kDataVolume, key, pass.stop));
  if (existing && !existing->controlled_by(pass.uid())) {
    // After a crash between handing it to the VM and Succeeded it is the VM's alone.
    const auto labels = existing->labels();
    const auto uid = labels.find(std::string(api::kImportUid));
    if (uid != labels.end() && uid->second == pass.uid()) return true;
    return coded_error(ErrorKind::AlreadyExists, code::kNameTaken,
                       "DataVolume '{}' was made by somebody else while the disk was copied",
                       key.to_string());
  }
  if (!existing) {
    TRY(offer_claim(pass, disk));
    const kube::Object claim = TRY(pass.parts.reader.get(kPersistentVolumeClaim, key, pass.stop));
    auto made = pass.create(kDataVolume, data_volume(pass, disk, claim));
    if (!made) return std::move(made).error();
    pass.event(kube::EventSeverity::Normal, "ImportInProgress",
               fmt::format("DataVolume '{}' was created for the finished disk '{}'",
                           key.to_string(), disk.name));
    existing = *std::move(made);
  }
  const std::string phase = existing->json().value("/status/phase"_json_pointer, std::string());
  if (phase == "Succeeded") return true;
  const auto entry = find_catalogue_entry(code::kAdoption);
  waiting_for = fmt::format("Waiting for DataVolume '{}' to adopt its claim (phase '{}') [{}]; {}",
                            key.to_string(), phase, entry->code, entry->remedy);
  return false;
}

}  // namespace

Result<void> let_go_of(Pass& pass, const kube::Object& vm) {
  std::vector<kube::OwnerReference> owners = vm.owners();
  std::erase_if(owners, [&](const auto& owner) { return owner.uid == pass.uid(); });
  return set_owners(pass, kube::types::kVirtualMachine, vm, owners);
}

Result<StepResult> adopt_disks(Pass& pass) {
  if (!pass.memory.plan->data_volumes) return StepResult::done();
  bool all_adopted = true;
  std::string waiting_for;
  for (const PlannedDisk& disk : pass.memory.plan->disks) {
    auto adopted = adopt(pass, disk, waiting_for);
    if (!adopted) {
      Error error = std::move(adopted).error().with_context(fmt::format("disk '{}'", disk.name));
      // Everything is copied: nothing here is worth losing it. The pass comes back.
      return error;
    }
    all_adopted = all_adopted && *adopted;
  }
  if (all_adopted) return StepResult::done();
  pass.set_processing("CreatingTargetVM", waiting_for);
  TRY(pass.save_status(true));
  return StepResult::again(kAdoptionPoll);
}

Result<void> own_disks(Pass& pass, const kube::Object& vm, bool import_too) {
  const kube::OwnerReference by_vm{.api_version = kube::types::kVirtualMachine.api_version,
                                   .kind = kube::types::kVirtualMachine.kind,
                                   .name = vm.name(),
                                   .uid = vm.uid(),
                                   .controller = false,
                                   .block_owner_deletion = true};
  std::vector<kube::OwnerReference> owners{by_vm};
  if (import_too) owners.insert(owners.begin(), pass.owner());
  for (const PlannedDisk& disk : pass.memory.plan->disks) {
    const kube::ObjectKey key{pass.key().ns, disk.claim};
    if (!pass.memory.plan->data_volumes) {
      TRY(own(pass, kPersistentVolumeClaim, key, vm.uid(), owners));
      continue;
    }
    // The claim follows its DataVolume; our own reference on it ends with the import.
    TRY(own(pass, kDataVolume, key, vm.uid(), owners));
    if (import_too) continue;
    const auto claim =
        TRY(kube::get_if_exists(pass.parts.reader, kPersistentVolumeClaim, key, pass.stop));
    if (!claim) continue;
    std::vector<kube::OwnerReference> left = claim->owners();
    std::erase_if(left, [&](const auto& owner) { return owner.uid == pass.uid(); });
    if (left.empty()) left.push_back(by_vm);  // CDI forgot its own: the VM takes its place
    TRY(set_owners(pass, kPersistentVolumeClaim, *claim, left));
  }
  return {};
}

}  // namespace vmferry::imports
