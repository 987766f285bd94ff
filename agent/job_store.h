#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "agent/paths.h"
#include "common/fd.h"
#include "common/id.h"
#include "common/result.h"

namespace vmferry {

// The agent's files (layout in paths.h). While it exists no other process uses the directory: that
// is what lets a coordinator conclude from a new incarnation of an agent that the old one is gone.
class JobStore {
 public:
  // Makes the directory and locks it. Unavailable when another agent has it.
  static Result<JobStore> open(const std::string& state_directory);

  const AgentPaths& paths() const { return paths_; }
  // Makes the job's directory; returns the path of its journal.
  Result<std::string> prepare(const JobId& job) const;
  // Removes the job's directory; no error when there is none.
  Result<void> remove(const JobId& job) const;
  // Removes journals not written to for that long: their jobs ended without a word to us. Returns
  // how many.
  Result<int> prune(std::chrono::hours older_than) const;

 private:
  JobStore(AgentPaths paths, UniqueFd lock) : paths_(std::move(paths)), lock_(std::move(lock)) {}

  AgentPaths paths_;
  UniqueFd lock_;
};

}  // namespace vmferry
