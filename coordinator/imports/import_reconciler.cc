#include "coordinator/imports/import_reconciler.h"

#include "common/catalogue.h"
#include "coordinator/api/import_salvage.h"
#include "coordinator/imports/progress.h"
#include "coordinator/imports/steps.h"

namespace vmferry::imports {
namespace {

constexpr std::chrono::seconds kUndoPoll{1};
// Every source takes some seconds to close its disks and to start its machine.
constexpr std::chrono::seconds kUndoNews{15};
constexpr std::string_view kBeingDeleted = "The import is being deleted";

constexpr Step kSteps[] = {
    {"claim import", claim_import},
    {"check spec", check_spec},
    {"connect source", connect_source},
    {"load plan", read_plan},
    {"read source", read_source},
    {"validate", validate_import},
    {"decide plan", decide_plan},
    {"stop source", stop_source},
    {"make claims", make_claims},
    {"move disks", move_disks},
    {"adopt disks", adopt_disks},
    {"create VM", create_vm},
    {"start VM", start_vm},
    {"finish", finish_import},
};

// An error that will be tried again must still be visible to whoever looks (W10).
Result<void> show_error(Pass& pass, const Error& error) {
  if (error.kind() == ErrorKind::Canceled || error.kind() == ErrorKind::Aborted) return {};
  // What goes by itself is no news before anything was done; what asks for a person is.
  const bool has_begun = pass.import.object.annotation(api::kProgress).has_value();
  if (has_begun || !is_retryable(error.kind()) || !error.code().empty()) pass.show_trouble(error);
  return pass.save_status(true);
}

// It went well for once: what was in the way is gone.
Result<void> forget_error(Pass& pass) {
  if (pass.import.object.annotation(api::kProgress)) return {};  // the next step has its own words
  pass.clear_trouble();
  return pass.save_status(true);
}

// Its outcome is written. The conditions may be what cannot be read: the annotation is written
// before them.
bool has_ended(const Pass& pass) {
  return api::find_condition(pass.import.status.conditions, "Succeeded") != nullptr ||
         (pass.import.status.conditions.empty() &&
          pass.import.object.annotation(api::kProgress) == "100");
}

Result<void> save_conditions(Pass& pass) {
  const nlohmann::json status = api::status_to_json(pass.import.status);
  pass.import.object = TRY(pass.parts.writer.patch_status(
      kube::types::kVirtualMachineImport, pass.key(),
      {{"status", {{"conditions", status.at("conditions")}}}}, pass.stop));
  return {};
}

// Of its status only the conditions are written: what else is in it cannot be read.
Result<void> tell_unreadable(Pass& pass, const Error& why) {
  pass.log.error("import cannot be read", why);
  const auto before = pass.import.status.conditions;
  const std::string text =
      text_with_remedy(why) + "; once it is corrected the import goes on by itself";
  pass.set_condition("Valid", "False", "ValidationFailed", text);
  if (pass.import.status.conditions == before) return {};
  pass.event(kube::EventSeverity::Warning, "ImportBlocked", text);
  return save_conditions(pass);
}

// Why an import is being undone, and what stands in the way of it.
void show_undoing(Pass& pass, const std::string& waits_for) {
  if (!pass.import.object.annotation(api::kProgress)) return;  // nothing of it was told before
  const bool failed = !pass.ledger.failure_reason.empty();
  std::string text(failed ? std::string_view(pass.ledger.failure_message) : kBeingDeleted);
  if (!waits_for.empty()) text += "; what was done for it cannot be undone yet: " + waits_for;
  if (failed) {
    pass.set_condition("Processing", "False", "ProcessingFailed", text);
  } else if (!waits_for.empty()) {
    pass.set_processing("Pending", text);
  }
}

// Undoes, and tells what that waits for: whoever waits for its end sees nothing else of it. Of the
// status only the conditions are written: what else is in it may be what cannot be read.
Result<bool> undo_visibly(Pass& pass) {
  const SteadyTime now = pass.parts.clock.steady();
  if (!pass.memory.undo_begun) pass.memory.undo_begun = now;
  std::string waits_for;
  auto undone = undo(pass, waits_for);
  if (undone && *undone) return undone;
  if (!undone) {
    const Error& error = undone.error();
    if (error.kind() == ErrorKind::Canceled || error.kind() == ErrorKind::Aborted) return undone;
    waits_for = text_with_remedy(error);
  } else if (now - *pass.memory.undo_begun < kUndoNews) {
    return undone;
  } else {
    waits_for = "waiting for " + waits_for;
  }
  const auto before = pass.import.status.conditions;
  show_undoing(pass, waits_for);
  if (pass.import.status.conditions == before) return undone;  // told already
  if (!undone) pass.event(kube::EventSeverity::Warning, "CleanUpWaits", waits_for);
  if (const auto saved = save_conditions(pass); !saved) {
    pass.log.warn("what undoing waits for could not be shown", saved.error());
  }
  return undone;
}

}  // namespace

std::span<const Step> import_steps() { return kSteps; }

std::shared_ptr<ImportMemory> ImportReconciler::memory_of(const std::string& uid) {
  auto memories = memories_.lock();
  std::shared_ptr<ImportMemory>& memory = (*memories)[uid];
  if (!memory) memory = std::make_shared<ImportMemory>();
  return memory;
}

Result<kube::Outcome> ImportReconciler::reconcile(const kube::ObjectKey& key,
                                                  std::stop_token stop) {
  const auto object =
      TRY(kube::get_if_exists(parts_.reader, kube::types::kVirtualMachineImport, key, stop));
  if (!object) return kube::Outcome{};
  const auto memory = memory_of(object->uid());
  auto import = api::parse_import(*object);
  auto ledger = ledger_of(*object);
  Pass pass(parts_, import ? *std::move(import) : api::salvage_import(*object),
            ledger ? *ledger : Ledger{}, *memory, stop);
  if (!import && !object->deleting()) {
    TRY(tell_unreadable(pass, import.error()));
    return kube::Outcome{};  // a corrected object brings it back
  }
  if (!ledger) {
    // Somebody damaged it. What the plan and the owner references know is still undone when the
    // import is deleted; what was opened at the source, only the ledger knew.
    const std::string text =
        ledger.error().message() + "; delete the import, and look at the source VM's state by hand";
    if (!object->deleting()) {
      pass.set_condition("Valid", "False", "DamagedLedger", text);
      TRY(pass.save_status(true));
      return kube::Outcome{};  // a corrected object brings it back
    }
    pass.event(kube::EventSeverity::Warning, "SourceNotRestored", text);
  }

  if (!pass.ledger.written_by.empty() && pass.ledger.written_by != pass.uid()) {
    pass.log.info("made from another import's object: its traces are removed");
    TRY(pass.forget_other_import());
    return kube::Outcome{std::chrono::nanoseconds(0)};
  }
  if (has_ended(pass)) {
    TRY(clean_up_finished(pass));
    memories_.lock()->erase(pass.uid());
    return kube::Outcome{};
  }
  if (object->deleting()) return go_away(pass);
  if (!pass.ledger.failure_reason.empty()) return undo_failure(pass);
  return go_on(pass);
}

Result<kube::Outcome> ImportReconciler::go_on(Pass& pass) {
  for (const Step& step : kSteps) {
    auto result = step.run(pass);
    if (!result) {
      Error error = std::move(result).error();
      pass.memory.credentials_doubted = true;  // it may be their fault
      if (const auto shown = show_error(pass, error); !shown) {
        // Also when it is the status itself that cannot be written.
        pass.log.warn("an error could not be shown", shown.error());
      }
      return std::move(error).with_context(step.name);
    }
    if (result->kind == StepResult::Kind::Again) {
      TRY(forget_error(pass));
      return kube::Outcome{result->after};
    }
    if (result->kind == StepResult::Kind::Failed) return fail(pass, *result);
  }
  TRY(clean_up_finished(pass));
  memories_.lock()->erase(pass.uid());
  return kube::Outcome{};
}

// The failure is written down before anything is undone, so that a crash goes on undoing.
Result<kube::Outcome> ImportReconciler::fail(Pass& pass, const StepResult& failure) {
  pass.log.error("import failed", {{"phase", failure.reason}, {"text", failure.message}});
  pass.ledger.failure_reason = failure.reason;
  pass.ledger.failure_message = failure.message;
  TRY(pass.save_ledger());
  if (!failure.event_reason.empty()) {
    pass.event(kube::EventSeverity::Warning, failure.event_reason, failure.message);
  }
  return undo_failure(pass);
}

Result<kube::Outcome> ImportReconciler::undo_failure(Pass& pass) {
  const api::Condition* told = api::find_condition(pass.import.status.conditions, "Processing");
  if (told == nullptr || told->status != "False") {
    show_undoing(pass, "");
    TRY(pass.save_status(true));
  }
  if (!TRY(undo_visibly(pass))) return kube::Outcome{pass.turn_after.value_or(kUndoPoll)};

  show_undoing(pass, "");
  pass.import.status.data_volumes.clear();
  pass.set_condition("Succeeded", "False", pass.ledger.failure_reason, pass.ledger.failure_message);
  if (pass.import.object.annotation(api::kProgress)) {
    TRY(pass.raise_progress(design_profile(false).done));
  }
  TRY(pass.save_status(true));
  TRY(clean_up_finished(pass));
  memories_.lock()->erase(pass.uid());
  return kube::Outcome{};
}

// Deleted before it ended: everything it made goes, then the import itself.
Result<kube::Outcome> ImportReconciler::go_away(Pass& pass) {
  if (!TRY(undo_visibly(pass))) return kube::Outcome{pass.turn_after.value_or(kUndoPoll)};
  TRY(clean_up_finished(pass));
  memories_.lock()->erase(pass.uid());
  return kube::Outcome{};
}

}  // namespace vmferry::imports
