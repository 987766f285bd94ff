#include "coordinator/fleet/admissions.h"

#include <utility>

namespace vmferry {
namespace {

bool is_of(const Received& asked, const protocol::Hello& hello) {
  const auto& before = std::get<protocol::Hello>(asked.message);
  return before.agent == hello.agent && before.node == hello.node && before.token == hello.token;
}

}  // namespace

Admissions::Verdict Admissions::judge(const Received& received, SteadyTime now) {
  forget_strangers(now);
  const auto found = guests_.find(received.peer);
  if (found == guests_.end() && guests_.size() - placed_ >= kMostStrangers) return {};
  Guest& guest = found == guests_.end() ? guests_[received.peer] : found->second;
  guest.seen = now;
  const bool in = is_in(guest, now);
  const auto* hello = std::get_if<protocol::Hello>(&received.message);
  if (hello == nullptr) {
    if (guest.place) return {.hear = in};
    // The table does not know it either, and asks it to say hello.
    return {.hear = !guest.asking && now >= guest.not_before};
  }
  // One connection is one process: another name or node on it has to be proven by itself.
  const bool same = in && guest.place->agent == hello->agent && guest.place->node == hello->node;
  if (guest.asking) {
    // The newest tells more, of whom the gate was asked about: a true name must not carry a false
    // one in.
    if (!same && !guest.was_heard && is_of(*guest.held, *hello)) guest.held = received;
    return {.hear = same};
  }
  if (now < guest.not_before) return {.hear = same};
  if (counts_.waiting >= kMostWaiting) return {.hear = same};
  guest.asking = true;
  guest.held = received;
  guest.was_heard = same;
  ++counts_.waiting;
  return {.hear = same, .ask = true};
}

Admissions::Admitted Admissions::answered(const std::string& peer, const Result<AgentPass>& pass,
                                          SteadyTime now) {
  const auto found = guests_.find(peer);
  if (found == guests_.end() || !found->second.asking) return {};
  Guest& guest = found->second;
  guest.asking = false;
  --counts_.waiting;
  Received received = *std::exchange(guest.held, std::nullopt);
  const auto& hello = std::get<protocol::Hello>(received.message);
  Admitted admitted{.hello = {}, .news = false, .agent = hello.agent};
  if (pass) {
    ++counts_.admitted;
    admitted.news = !is_in(guest, now);
    if (!guest.place) ++placed_;
    guest.place = Place{hello.agent, hello.node, now + pass->valid_for, now + pass->check_after};
    guest.last_refusal.clear();
    if (!guest.was_heard) admitted.hello = std::move(received);
    return admitted;
  }
  const bool refused = pass.error().kind() == ErrorKind::PermissionDenied;
  ++(refused ? counts_.refused : counts_.unanswered);
  guest.not_before = now + (refused ? kRefusedFor : kRetryAfter);
  if (refused && guest.place) guest.place->until = std::min(guest.place->until, now);
  admitted.news = guest.last_refusal != pass.error().message();
  guest.last_refusal = pass.error().message();
  return admitted;
}

std::vector<std::string> Admissions::to_greet(SteadyTime now) {
  std::vector<std::string> peers;
  for (auto& [peer, guest] : guests_) {
    if (!guest.place || guest.asking || now < guest.place->check_at) continue;
    // Silent ones are gone, or refused for good.
    if (now - guest.seen > kForgetAfter || now < guest.not_before) continue;
    if (now - guest.greeted < kAskEvery) continue;
    guest.greeted = now;
    peers.push_back(peer);
  }
  return peers;
}

bool Admissions::may_hear_us(const std::string& peer, SteadyTime now) const {
  const auto found = guests_.find(peer);
  return found != guests_.end() && is_in(found->second, now);
}

// Those that had a place stay known for as long as the table knows their connections.
void Admissions::forget_strangers(SteadyTime now) {
  if (now - swept_ < kForgetAfter) return;
  swept_ = now;
  std::erase_if(guests_, [&](const auto& item) {
    const Guest& guest = item.second;
    const auto silent = now - guest.seen;
    if (guest.asking) return false;
    if (!guest.place) return silent > kForgetAfter;
    const bool mover = protocol::is_mover_node(guest.place->node);
    const bool gone = mover ? silent > kForgetMover : silent > kForgetAgent;
    if (gone) --placed_;
    return gone;
  });
}

}  // namespace vmferry
