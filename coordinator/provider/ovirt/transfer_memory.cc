#include "coordinator/provider/ovirt/transfer_memory.h"

namespace vmferry::ovirt {
namespace {

constexpr std::chrono::seconds kStartPatience{300};
constexpr std::chrono::seconds kFinalizeAgainAfter{10};
constexpr std::chrono::seconds kEngineNotices{30};    // that a host has lost a ticket
constexpr std::chrono::seconds kExtensionHolds{120};  // refused after that it has expired again
constexpr std::chrono::seconds kExtendEvery{120};     // a ticket lives for 300
constexpr int kUnknownPollsTolerated = 3;
constexpr int kMostResumes = 3;
constexpr int kMostRestarts = 3;
constexpr std::size_t kMostClosing = 10'000;

}  // namespace

TransferMemory::Opening& TransferMemory::opening_of(State& state, const std::string& handle) {
  return state.openings.try_emplace(handle, Opening{handle, {}}).first->second;
}

TransferMemory::Notes& TransferMemory::notes_of(State& state, const std::string& transfer) const {
  Notes fresh;
  fresh.first_seen = clock_.steady();
  return state.notes.try_emplace(transfer, fresh).first->second;
}

void TransferMemory::opened(const std::string& handle, const std::string& owner) {
  auto state = state_.lock();
  state->openings.insert_or_assign(handle, Opening{handle, owner});
  state->closing.erase(handle);
}

void TransferMemory::closing(const std::string& handle) {
  auto state = state_.lock();
  if (state->closing.size() >= kMostClosing) state->closing.clear();  // renewals take seconds
  state->closing.insert(handle);
}

bool TransferMemory::is_closing(const std::string& handle) const {
  auto state = state_.lock();
  return state->closing.contains(handle);
}

std::string TransferMemory::current(const std::string& handle) {
  auto state = state_.lock();
  return opening_of(*state, handle).transfer;
}

void TransferMemory::replace(const std::string& handle, const std::string& transfer) {
  auto state = state_.lock();
  Opening& opening = opening_of(*state, handle);
  state->notes.erase(opening.transfer);
  opening.transfer = transfer;
}

void TransferMemory::forget(const std::string& handle) {
  auto state = state_.lock();
  const auto found = state->openings.find(handle);
  if (found == state->openings.end()) return;
  state->notes.erase(found->second.transfer);
  state->openings.erase(found);
}

bool TransferMemory::is_taken(const std::string& transfer, const std::string& handle,
                              const std::string& owner) const {
  auto state = state_.lock();
  for (const auto& [other, opening] : state->openings) {
    if (opening.transfer != transfer || other == handle) continue;
    if (owner.empty() || opening.owner != owner) return true;
  }
  return false;
}

bool TransferMemory::may_restart(const std::string& handle) {
  auto state = state_.lock();
  return ++opening_of(*state, handle).restarts <= kMostRestarts;
}

void TransferMemory::not_restarted(const std::string& handle) {
  auto state = state_.lock();
  --opening_of(*state, handle).restarts;
}

bool TransferMemory::may_wait(const std::string& transfer) {
  auto state = state_.lock();
  return clock_.steady() - notes_of(*state, transfer).first_seen <= kStartPatience;
}

bool TransferMemory::may_be_unknown(const std::string& transfer) {
  auto state = state_.lock();
  return ++notes_of(*state, transfer).unknown_polls <= kUnknownPollsTolerated;
}

bool TransferMemory::may_resume(const std::string& transfer) {
  auto state = state_.lock();
  Notes& notes = notes_of(*state, transfer);
  notes.extended.reset();  // what comes back has a new ticket
  return ++notes.resumes <= kMostResumes;
}

TransferMemory::Extension TransferMemory::extension(const std::string& transfer) {
  auto state = state_.lock();
  const Notes& notes = notes_of(*state, transfer);
  if (!notes.extended) return Extension::Fresh;
  const auto since = clock_.steady() - *notes.extended;
  if (since < kEngineNotices) return Extension::Waiting;
  return since < kExtensionHolds ? Extension::Vain : Extension::Fresh;
}

void TransferMemory::extended(const std::string& transfer) {
  auto state = state_.lock();
  notes_of(*state, transfer).extended = clock_.steady();
}

bool TransferMemory::is_extension_due(const std::string& transfer) {
  auto state = state_.lock();
  Notes& notes = notes_of(*state, transfer);
  const SteadyTime now = clock_.steady();
  if (now - notes.kept_alive.value_or(notes.first_seen) < kExtendEvery) return false;
  notes.kept_alive = now;
  return true;
}

bool TransferMemory::may_finalize(const std::string& transfer) {
  auto state = state_.lock();
  Notes& notes = notes_of(*state, transfer);
  const SteadyTime now = clock_.steady();
  if (notes.finalized && now - *notes.finalized < kFinalizeAgainAfter) return false;
  notes.finalized = now;
  return true;
}

void TransferMemory::finalize_failed(const std::string& transfer) {
  auto state = state_.lock();
  notes_of(*state, transfer).finalized.reset();
}

}  // namespace vmferry::ovirt
