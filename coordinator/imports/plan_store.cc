#include "coordinator/imports/plan_store.h"

#include <algorithm>

#include "common/catalogue.h"
#include "coordinator/imports/ledger_seal.h"
#include "coordinator/imports/names.h"
#include "coordinator/imports/steps.h"

namespace vmferry::imports {
namespace {

// A seal of a plan is none of a ledger.
std::string sealed_for(const std::string& uid) { return "plan " + uid; }

Error not_own(const std::string& what) {
  return coded_error(ErrorKind::DataLoss, code::kNameTaken, "the plan {}", what);
}

// Nothing that would have to be undone by what the plan says.
bool has_begun(const Pass& pass) {
  const Ledger& ledger = pass.ledger;
  return !ledger.claims.empty() || !ledger.openings.empty() || !ledger.stop_requested_at.empty() ||
         pass.import.object.has_finalizer(api::kRestoreFinalizer);
}

}  // namespace

kube::Object plan_object(const Pass& pass, const ImportPlan& plan) {
  const kube::OwnerReference owner = pass.owner();
  const std::string text =
      sealed(to_json(plan).dump(), sealed_for(pass.uid()), pass.parts.disks->key());
  return kube::Object({{"apiVersion", "v1"},
                       {"kind", "ConfigMap"},
                       {"metadata",
                        {{"name", plan_config_map_name(pass.uid())},
                         {"namespace", pass.key().ns},
                         {"labels", {{api::kImportUid, pass.uid()}}},
                         {"ownerReferences",
                          {{{"apiVersion", owner.api_version},
                            {"kind", owner.kind},
                            {"name", owner.name},
                            {"uid", owner.uid},
                            {"blockOwnerDeletion", true}}}}}},
                       {"data", {{"plan", text}}}});
}

Result<void> check_own_plan(const ImportPlan& plan, const kube::ObjectKey& import,
                            const std::string& uid) {
  if (!plan.vm.is_object()) return not_own("has no virtual machine");
  const kube::Object vm(plan.vm);
  if (vm.ns() != import.ns || vm.name().empty() || vm.name() != plan.vm_name) {
    return not_own(fmt::format("is of the virtual machine '{}' and not of '{}/{}'",
                               vm.key().to_string(), import.ns, plan.vm_name));
  }
  const auto owners = vm.owners();
  if (owners.size() != 1 || owners.front().uid != uid) {
    return not_own("is of a virtual machine that this import does not own");
  }
  const auto labels = vm.labels();
  const auto label = labels.find(std::string(api::kImportUid));
  if (label == labels.end() || label->second != uid) {
    return not_own("is of a virtual machine with another import's label");
  }
  const auto claim = std::ranges::find_if_not(
      plan.disks, [](const PlannedDisk& disk) { return is_dns1123_subdomain(disk.claim); });
  if (claim != plan.disks.end()) {
    return not_own(
        fmt::format("has a claim '{}', which cannot be one of its namespace", claim->claim));
  }
  return {};
}

Result<std::optional<ImportPlan>> stored_plan(const Pass& pass) {
  const kube::ObjectKey key{pass.key().ns, plan_config_map_name(pass.uid())};
  const auto stored =
      TRY(kube::get_if_exists(pass.parts.reader, kube::types::kConfigMap, key, pass.stop));
  if (!stored) return std::optional<ImportPlan>();
  const auto text = stored->json().value("/data/plan"_json_pointer, std::string());
  const SecretString& seal = pass.parts.disks->key();
  // Every coordinator has a key; what only tries a step has none.
  if (!seal.empty() && !is_sealed(text, sealed_for(pass.uid()), seal)) {
    return not_own("does not carry the coordinators' seal for this import")
        .with_context(fmt::format("ConfigMap '{}'", key.to_string()));
  }
  auto plan = plan_from_json(nlohmann::json::parse(text, nullptr, false));
  if (!plan) return std::move(plan).error();
  if (auto own = check_own_plan(*plan, pass.key(), pass.uid()); !own) {
    return std::move(own).error().with_context(fmt::format("ConfigMap '{}'", key.to_string()));
  }
  return std::optional(*std::move(plan));
}

Result<StepResult> load_plan(Pass& pass) {
  if (!pass.memory.plan) pass.memory.plan = TRY(stored_plan(pass));
  return StepResult::done();
}

Result<StepResult> read_plan(Pass& pass) {
  auto loaded = load_plan(pass);
  if (loaded || loaded.error().kind() != ErrorKind::DataLoss) return loaded;
  const char* const remedy =
      has_begun(pass) ? "delete the import, which undoes what it has done, and create it again"
                      : "remove that ConfigMap, and the import is planned anew";
  const Error& error = loaded.error();
  const std::string which = error.code().empty() ? "" : fmt::format(" [{}]", error.code());
  const std::string text = fmt::format("{}{}; {}", error.message(), which, remedy);
  pass.set_condition("Valid", "False", "ValidationFailed", text);
  pass.clear_pending();
  pass.event(kube::EventSeverity::Warning, "ImportBlocked", text);
  TRY(pass.save_status(true));
  return again_when_blocked(pass);
}

}  // namespace vmferry::imports
