#pragma once

#include <span>
#include <string>
#include <string_view>

#include "coordinator/imports/pass.h"

// The import, step by step (design 4, lifecycle.md 0). Every step is idempotent: it reads what is
// there, does what is missing and answers whether the next one may run. None waits.
namespace vmferry::imports {

struct Step {
  std::string_view name;
  Result<StepResult> (*run)(Pass&);
};

// In the order in which they run.
std::span<const Step> import_steps();

// step_prepare.cc
Result<StepResult> claim_import(Pass& pass);    // finalizers: nothing of ours is lost
Result<StepResult> check_spec(Pass& pass);      // the request alone
Result<StepResult> connect_source(Pass& pass);  // credentials, connection
// After what blocks the import was told. Every five seconds (lifecycle.md 11); but one that nobody
// has mended for a minute, more and more seldom, up to a minute: what changes on the cluster is
// told anyway, and hundreds of them would ask source and API server for nothing.
StepResult again_when_blocked(Pass& pass);
// plan_store.cc: the decided plan, if there is one. DataLoss: what is there is not to be believed;
// read_plan() tells so, and has the import wait.
Result<StepResult> load_plan(Pass& pass);
Result<StepResult> read_plan(Pass& pass);
// step_decide.cc
Result<StepResult> read_source(Pass& pass);      // source VM and cluster facts
Result<StepResult> validate_import(Pass& pass);  // findings -> conditions
Result<StepResult> decide_plan(Pass& pass);      // OS, template, VM, claims: kept from here on
// step_move.cc
Result<StepResult> stop_source(Pass& pass);
Result<StepResult> make_claims(Pass& pass);
Result<StepResult> move_disks(Pass& pass);
// step_adopt.cc
Result<StepResult> adopt_disks(Pass& pass);
// Who owns claims and DataVolumes beside `vm` once it exists: with `import_too` the import.
Result<void> own_disks(Pass& pass, const kube::Object& vm, bool import_too);
// The import is no owner of it any more; others that it has stay. Aborted when it has changed since
// `vm` was read.
Result<void> let_go_of(Pass& pass, const kube::Object& vm);
// step_finish.cc
Result<StepResult> create_vm(Pass& pass);
Result<StepResult> start_vm(Pass& pass);
Result<StepResult> finish_import(Pass& pass);

// What is left to do for an import that has Succeeded; true when nothing is.
Result<bool> clean_up_finished(Pass& pass);

// undo.cc: removes, by ledger and plan, everything that the import made, and restores the source.
// True when all of it is gone; false: call again soon, and `waits_for` says what for.
Result<bool> undo(Pass& pass, std::string& waits_for);

// The provider of this import's secret, and the turn to ask its source; shared by connect_source
// and undo. Something: no turn yet, come again.
Result<std::optional<SourceTurns::Wait>> obtain_provider(Pass& pass);

}  // namespace vmferry::imports
