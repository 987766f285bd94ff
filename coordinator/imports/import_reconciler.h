#pragma once

#include <map>
#include <memory>
#include <stop_token>
#include <string>

#include "common/guarded.h"
#include "coordinator/imports/pass.h"
#include "coordinator/kube/controller.h"

namespace vmferry::imports {

// Takes one VirtualMachineImport as far as it goes now. Level-based: everything it decides on is
// read in the pass; all durable state is in the import, its plan and the objects it owns, so that
// kill -9 between any two writes loses nothing.
class ImportReconciler {
 public:
  explicit ImportReconciler(ReconcilerParts parts) : parts_(std::move(parts)) {}

  Result<kube::Outcome> reconcile(const kube::ObjectKey& key, std::stop_token stop);

 private:
  Result<kube::Outcome> go_on(Pass& pass);
  Result<kube::Outcome> fail(Pass& pass, const StepResult& failure);
  Result<kube::Outcome> undo_failure(Pass& pass);
  Result<kube::Outcome> go_away(Pass& pass);
  std::shared_ptr<ImportMemory> memory_of(const std::string& uid);

  ReconcilerParts parts_;
  Guarded<std::map<std::string, std::shared_ptr<ImportMemory>>> memories_;
};

}  // namespace vmferry::imports
