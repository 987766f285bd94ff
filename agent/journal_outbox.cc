#include "agent/journal_outbox.h"

#include <algorithm>
#include <utility>

namespace vmferry {
namespace {

// With 32 bytes of digest and a run of its own for each chunk this stays below
// kMaxJournalPartBytes.
constexpr std::size_t kChunksPerMessage = 50'000;
constexpr std::size_t kWindow = 4;
constexpr std::chrono::seconds kAgain{2};

}  // namespace

void JournalOutbox::opened(std::string epoch, std::string identity, bool started_over) {
  epoch_ = std::move(epoch);
  identity_ = std::move(identity);
  push(started_over, encode_chunks({}));
}

void JournalOutbox::add(const std::vector<DurableChunk>& chunks) {
  for (std::size_t from = 0; from < chunks.size(); from += kChunksPerMessage) {
    const std::size_t to = std::min(chunks.size(), from + kChunksPerMessage);
    push(false, encode_chunks({chunks.begin() + static_cast<std::ptrdiff_t>(from),
                               chunks.begin() + static_cast<std::ptrdiff_t>(to)}));
  }
}

void JournalOutbox::tell_epoch_again() {
  if (!epoch_.empty()) push(false, encode_chunks({}));
}

void JournalOutbox::push(bool reset, std::string chunks) {
  protocol::JournalUpdate update;
  update.job = job_;
  update.attempt = attempt_;
  update.epoch = epoch_;
  update.identity = identity_;
  update.reset = reset;
  update.sequence = ++last_sequence_;
  update.chunks = std::move(chunks);
  waiting_.push_back({std::move(update), std::nullopt});
}

void JournalOutbox::acknowledged(std::uint64_t sequence) {
  std::erase_if(waiting_, [&](const Waiting& w) { return w.update.sequence == sequence; });
}

std::vector<protocol::JournalUpdate> JournalOutbox::due(SteadyTime now, bool all) {
  std::vector<protocol::JournalUpdate> updates;
  std::size_t seen = 0;
  for (Waiting& waiting : waiting_) {
    if (!all && ++seen > kWindow) break;
    if (waiting.sent && now - *waiting.sent < kAgain) continue;
    waiting.sent = now;
    updates.push_back(waiting.update);
  }
  return updates;
}

}  // namespace vmferry
