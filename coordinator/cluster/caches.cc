#include "coordinator/cluster/caches.h"

#include <algorithm>

#include "coordinator/api/import.h"
#include "coordinator/kube/optional_types.h"
#include "coordinator/volumes/cluster/claim_objects.h"

namespace vmferry::cluster {
namespace {

namespace types = kube::types;

constexpr std::chrono::milliseconds kSyncPoll{20};
constexpr const char* kHolders = "vmferry.io/holder";

// Of our own namespace, those that imports are decided on; others (the fleet's records) change all
// the time.
bool is_configuration(const kube::Object& map) {
  return !map.labels().contains("vmferry.io/jobs") && map.name() != "vmferry-coordinator";
}

std::optional<kube::ObjectKey> owning_import(const kube::Object& object) {
  for (const kube::OwnerReference& owner : object.owners()) {
    if (owner.kind == types::kVirtualMachineImport.kind) {
      return kube::ObjectKey{object.ns(), owner.name};
    }
  }
  return std::nullopt;
}

}  // namespace

Caches::Caches(kube::Reader& direct, kube::Writer& writer, const Scope& scope, Handlers handlers,
               const Clock& clock, const Logger& log)
    : direct_(direct),
      handlers_(std::move(handlers)),
      clock_(clock),
      log_(log),
      reader_(direct),
      writer_(writer) {
  const auto tell_import = [this](const kube::Object& import) {
    handlers_.on_import(import.key());
  };
  imports_ = &follow(types::kVirtualMachineImport, {tell_import, tell_import},
                     {.ns = scope.imports, .label_selector = {}});
  keep(*imports_);

  const auto tell_all = [this](const kube::Object& changed) { handlers_.on_change(changed.ns()); };
  for (const kube::ResourceType* type :
       {&types::kResourceMapping, &types::kStorageClass, &types::kStorageProfile,
        &types::kCdiConfig, &types::kKubeVirt, &types::kNetworkAttachmentDefinition}) {
    // A mapping of one namespace may serve imports of another.
    const auto tell =
        type->namespaced
            ? kube::Informer::Handlers{[this](const kube::Object&) { handlers_.on_change(""); },
                                       [this](const kube::Object&) { handlers_.on_change(""); }}
            : kube::Informer::Handlers{tell_all, tell_all};
    keep(follow(*type, tell));
  }
  // Many, large, and the same for years: what changes in them need not wake every import.
  const auto quiet = [](const kube::Object&) {};
  for (const kube::ResourceType* type :
       {&types::kTemplate, &types::kClusterPreference, &types::kClusterInstancetype}) {
    keep(follow(*type, {quiet, quiet}));
  }
  const auto tell_configuration = [this](const kube::Object& map) {
    if (is_configuration(map)) handlers_.on_change("");
  };
  keep(follow(types::kConfigMap, {tell_configuration, tell_configuration},
              {.ns = scope.own, .label_selector = {}}));

  const std::string ours{api::kImportUid};
  keep(follow(types::kPod, tell_owner(), {.ns = scope.imports, .label_selector = kHolders}));
  keep(follow(types::kPersistentVolumeClaim, tell_claim(),
              {.ns = scope.imports, .label_selector = ours}));
  keep(follow(types::kDataVolume, tell_owner(), {.ns = scope.imports, .label_selector = ours}));
  keep(follow(types::kVolumeAttachment, tell_detached()));
  follow(types::kVirtualMachine, tell_owner(), {.ns = scope.imports, .label_selector = ours});
}

kube::Informer& Caches::follow(const kube::ResourceType& type, kube::Informer::Handlers handlers,
                               kube::ListOptions scope) {
  informers_.push_back(std::make_unique<kube::Informer>(direct_, type, std::move(handlers), clock_,
                                                        log_, std::move(scope)));
  return *informers_.back();
}

void Caches::keep(kube::Informer& informer) {
  reader_.add(informer);
  writer_.add(informer);
}

kube::Informer::Handlers Caches::tell_owner() const {
  const auto tell = [this](const kube::Object& object) {
    if (const auto import = owning_import(object)) handlers_.on_import(*import);
  };
  return {tell, tell};
}

// And remembers whose volume it has.
kube::Informer::Handlers Caches::tell_claim() {
  const auto note = [this](const kube::Object& claim, bool exists) {
    const auto import = owning_import(claim);
    const std::string volume = volumes::volume_of(claim);
    if (!volume.empty()) {
      auto known = imports_of_volumes_.lock();
      if (exists && import) {
        known->insert_or_assign(volume, *import);
      } else {
        known->erase(volume);
      }
    }
    if (import) handlers_.on_import(*import);
  };
  return {[note](const kube::Object& claim) { note(claim, true); },
          [note](const kube::Object& claim) { note(claim, false); }};
}

kube::Informer::Handlers Caches::tell_detached() const {
  const auto tell = [this](const kube::Object& attachment) {
    const std::string volume =
        attachment.json().value("/spec/source/persistentVolumeName"_json_pointer, std::string());
    std::optional<kube::ObjectKey> import;
    {
      auto known = imports_of_volumes_.lock();
      if (const auto found = known->find(volume); found != known->end()) import = found->second;
    }
    if (import) handlers_.on_import(*import);
  };
  return {[](const kube::Object&) {}, tell};
}

Result<void> Caches::wait_until_synced(std::stop_token stop) const {
  const auto is_known = [](const auto& informer) {
    return informer->coverage() != kube::Informer::Coverage::Unknown;
  };
  // Kinds that we may not read stay unknown: reading them says so where it matters.
  while (!imports_->synced()) {
    if (!clock_.sleep(kSyncPoll, stop)) {
      return Error(ErrorKind::Canceled, "stopped while the caches were filled");
    }
  }
  for (int patience = 0; patience < 150 && !std::ranges::all_of(informers_, is_known); ++patience) {
    if (!clock_.sleep(kSyncPoll, stop)) {
      return Error(ErrorKind::Canceled, "stopped while the caches were filled");
    }
  }
  return {};
}

}  // namespace vmferry::cluster
