#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>

#include "common/clock.h"
#include "common/guarded.h"

// What is remembered of image transfers between calls. It only serves patience and order: after a
// restart patience starts afresh, and the engine's list tells what is ours.
namespace vmferry::ovirt {

// A handle is the id of the transfer that an import opened; its current transfer is another one
// after the engine or somebody else ended the first. Thread-safe.
class TransferMemory {
 public:
  explicit TransferMemory(const Clock& clock) : clock_(clock) {}

  void opened(const std::string& handle, const std::string& owner);
  // The transfer that serves the handle now; a handle not heard of yet is its own.
  std::string current(const std::string& handle);
  // Another transfer serves the handle from now on.
  void replace(const std::string& handle, const std::string& transfer);
  void forget(const std::string& handle);
  // Its import lets it go: a renewal that is still on its way must not open anything any more.
  void closing(const std::string& handle);
  bool is_closing(const std::string& handle) const;
  // Whether another handle, of another owner (empty: any), uses this transfer.
  bool is_taken(const std::string& transfer, const std::string& handle,
                const std::string& owner) const;
  // Counts a restart of the handle; false when it has had enough of them.
  bool may_restart(const std::string& handle);
  void not_restarted(const std::string& handle);  // takes that back

  // Each of a transfer that starts: false when that has taken too long.
  bool may_wait(const std::string& transfer);
  bool may_be_unknown(const std::string& transfer);
  // Counts a resume; false when the transfer was paused too often.
  bool may_resume(const std::string& transfer);

  // When a ticket was extended and is refused again: the host may have forgotten it, and the engine
  // not know that yet.
  enum class Extension { Fresh, Waiting, Vain };
  Extension extension(const std::string& transfer);
  void extended(const std::string& transfer);

  // True every two minutes of a transfer's life; notes that it was asked.
  bool is_extension_due(const std::string& transfer);

  // True unless finalize was asked for a moment ago; notes that it is asked for now.
  bool may_finalize(const std::string& transfer);
  void finalize_failed(const std::string& transfer);

 private:
  struct Opening {
    std::string transfer, owner;
    int restarts = 0;
  };
  struct Notes {
    SteadyTime first_seen{};
    std::optional<SteadyTime> finalized, extended;
    std::optional<SteadyTime> kept_alive;  // extended although nobody had refused it
    int unknown_polls = 0, resumes = 0;
  };
  struct State {
    std::map<std::string, Opening> openings;  // by handle
    std::map<std::string, Notes> notes;       // by transfer
    std::set<std::string> closing;            // handles; the engine never gives an id twice
  };
  static Opening& opening_of(State& state, const std::string& handle);
  Notes& notes_of(State& state, const std::string& transfer) const;

  const Clock& clock_;
  Guarded<State> state_;
};

}  // namespace vmferry::ovirt
