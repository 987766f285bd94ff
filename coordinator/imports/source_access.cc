#include <algorithm>

#include "common/catalogue.h"
#include "coordinator/imports/observe.h"
#include "coordinator/imports/reference_rights.h"
#include "coordinator/imports/steps.h"

// The account for an import's source, and its turn to ask it.
namespace vmferry::imports {
namespace {

using Wait = std::optional<SourceTurns::Wait>;

constexpr std::chrono::seconds kSecretLook{20};
constexpr int kSecretRest = 30;  // times that, for imports that have waited for long
// While there is no turn: somebody may correct the address of a source that never answers.
constexpr std::chrono::minutes kSecretLookInVain{5};

bool in_progress(const Pass& pass) {
  return pass.import.object.annotation(api::kProgress).has_value();
}

// What was done for it is being undone.
bool is_ending(const Pass& pass) {
  return pass.import.object.deleting() || !pass.ledger.failure_reason.empty();
}

Wait take_turn(Pass& pass) {
  pass.turn.reset();
  if (pass.parts.turns == nullptr) return std::nullopt;
  auto turn = pass.parts.turns->take(pass.credentials->api_url, pass.key().to_string());
  if (auto* const wait = std::get_if<SourceTurns::Wait>(&turn)) return std::move(*wait);
  pass.turn.emplace(std::get<SourceTurns::Turn>(std::move(turn)));
  return std::nullopt;
}

// Of an import that is undone the secret may be gone before it: `kubectl delete -f`, or the
// namespace's end, takes both. What is remembered of it still opens the source.
Result<void> read_secret(Pass& pass) {
  ImportMemory& memory = pass.memory;
  // Undoing begins before the request is checked: whoever wrote the import may have written what
  // is to be undone as well, and another namespace's account is not his.
  if (is_ending(pass) && pass.parts.access != nullptr) {
    const ReferenceRights rights =
        TRY(reference_rights(*pass.parts.access, pass.import, pass.stop));
    if (rights.secret == Right::Denied && !memory.credentials) {
      return make_error(ErrorKind::PermissionDenied,
                        "'{}' may not read the secret with the source's credentials, so the source "
                        "cannot be told to close disks and to start its VM again; grant it get on "
                        "that secret, and it is done at once",
                        rights.author);
    }
    if (rights.secret == Right::Denied) {
      // The right went with what is deleted. What is remembered was read while there was one.
      memory.credentials_read = pass.parts.clock.steady();
      memory.credentials_doubted = false;
      return {};
    }
  }
  auto read = observe_credentials(pass.parts.reader, pass.import, pass.stop);
  if (read) {
    memory.credentials = *std::move(read);
  } else if (read.error().code() != code::kSecretMissing || !is_ending(pass)) {
    return std::move(read).error();
  } else if (!memory.credentials) {
    return make_error(ErrorKind::Unavailable,
                      "{}, so the source cannot be told to close disks and to start its VM again; "
                      "put that secret back, and it is done at once",
                      read.error().message());
  }
  memory.credentials_read = pass.parts.clock.steady();
  memory.credentials_generation = pass.import.object.generation();
  memory.credentials_doubted = false;
  return {};
}

}  // namespace

Result<Wait> obtain_provider(Pass& pass) {
  if (pass.provider) return Wait();
  ImportMemory& memory = pass.memory;
  const auto age = pass.parts.clock.steady() - memory.credentials_read;
  const bool same_spec = memory.credentials_generation == pass.import.object.generation();
  // By what is remembered: a thousand imports that wait for a turn must not read a thousand
  // secrets each time that they look.
  const bool is_known =
      memory.credentials && (same_spec || is_ending(pass)) && age < kSecretLookInVain;
  std::string asked_for;
  if (is_known) {
    pass.credentials = memory.credentials;
    if (auto wait = take_turn(pass)) return wait;
    asked_for = pass.credentials->api_url;
  }
  // A new import never meets an old password: its first failure would be its end. In one under way
  // any error lets the secret be read again, so that thousands that wait need not look at theirs.
  const auto good_for = kSecretLook * std::clamp(memory.idle_passes, 1, kSecretRest);
  const bool is_good = memory.credentials && in_progress(pass) && !memory.credentials_doubted &&
                       (same_spec || is_ending(pass)) && age <= good_for;
  if (!is_good) TRY(read_secret(pass));
  pass.credentials = memory.credentials;
  if (pass.credentials->api_url != asked_for) {
    if (auto wait = take_turn(pass)) return wait;
  }
  pass.provider = TRY(pass.parts.providers.get(*pass.credentials));
  return Wait();
}

}  // namespace vmferry::imports
