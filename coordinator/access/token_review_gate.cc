#include "coordinator/access/token_review_gate.h"

#include <openssl/crypto.h>
#include <openssl/sha.h>

#include <algorithm>
#include <array>
#include <exception>
#include <utility>

#include "common/catalogue.h"
#include "coordinator/kube/server_types.h"

namespace vmferry::access {
namespace {

constexpr std::size_t kMostRemembered = 8192;

// Whatever keeps us from asking is no fault of the agent's.
Error could_not_ask(Error error, std::string_view what) {
  const ErrorKind kind =
      error.kind() == ErrorKind::Canceled ? ErrorKind::Canceled : ErrorKind::Unavailable;
  return Error(kind, error.code(), error.message()).with_context(what);
}

// Tokens are not kept.
std::string digest_of(const protocol::Hello& hello) {
  std::string text;
  for (const std::string* part : {&hello.token, &hello.agent.value, &hello.node}) {
    text += fmt::format("{}:{}", part->size(), *part);
  }
  std::array<unsigned char, SHA256_DIGEST_LENGTH> digest{};
  SHA256(reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest.data());
  OPENSSL_cleanse(text.data(), text.size());
  return {reinterpret_cast<const char*>(digest.data()), digest.size()};
}

}  // namespace

TokenReviewGate::TokenReviewGate(kube::Reader& reader, kube::Writer& writer,
                                 kube::EventRecorder& events, Settings settings, const Clock& clock,
                                 const Logger& log)
    : reader_(reader),
      writer_(writer),
      events_(events),
      settings_(std::move(settings)),
      clock_(clock),
      log_(log) {
  for (int i = 0; i < settings_.threads; ++i) {
    threads_.emplace_back([this](std::stop_token stop) { run(stop); });
  }
}

TokenReviewGate::~TokenReviewGate() {
  for (std::jthread& thread : threads_) thread.request_stop();
  threads_.clear();
  for (Question& question : questions_) {
    question.answer(Error(ErrorKind::Canceled, "the coordinator stops"));
  }
}

void TokenReviewGate::check(const protocol::Hello& hello, const std::string& /*key*/,
                            Answer answer) {
  Question question{hello, std::move(answer)};
  question.hello.jobs.clear();
  {
    const std::lock_guard lock(mutex_);
    questions_.push_back(std::move(question));  // bounded by Admissions::kMostWaiting
  }
  asked_.notify_one();
}

void TokenReviewGate::run(std::stop_token stop) {
  while (true) {
    Question question;
    {
      std::unique_lock lock(mutex_);
      if (!asked_.wait(lock, stop, [this] { return !questions_.empty(); })) return;
      if (stop.stop_requested()) return;  // the destructor answers what is left
      question = std::move(questions_.front());
      questions_.pop_front();
    }
    Result<AgentPass> pass = [&]() -> Result<AgentPass> {
      try {
        return judge(question.hello, stop);
      } catch (const std::exception& failure) {
        return make_error(ErrorKind::Internal, "unexpected: {}", failure.what());
      }
    }();
    question.answer(std::move(pass));
  }
}

Result<AgentPass> TokenReviewGate::judge(const protocol::Hello& hello, std::stop_token stop) {
  TRY(check_token_shape(hello.token, settings_.rules.audience, clock_.wall()));
  const std::string known_as = digest_of(hello);
  if (const auto known = remembered(known_as)) return *known;
  const kube::Object request(nlohmann::json{
      {"spec", {{"token", hello.token}, {"audiences", {settings_.rules.audience}}}}});
  const auto review = writer_.create(kube::types::kTokenReview, request, {}, stop);
  if (!review) return could_not_ask(review.error(), "TokenReview");
  const TokenOwner owner = TRY(token_owner(*review, settings_.rules.audience));
  const Evidence evidence = TRY(evidence_of(owner, stop));
  const auto who = check_agent(hello, evidence, settings_.rules);
  if (!who) {
    if (evidence.pod && evidence.pod->uid() == owner.pod_uid) {
      events_.record(*evidence.pod, kube::EventSeverity::Warning, "AgentRefused",
                     text_with_remedy(who.error()), stop);
    }
    return who.error();
  }
  const auto life = token_life(hello.token, clock_.wall());
  AgentPass pass{.valid_for = life,
                 .check_after = std::min(settings_.check_every, life * 9 / 10),
                 .who = *who};
  remember(known_as, pass);
  return pass;
}

std::optional<AgentPass> TokenReviewGate::remembered(const std::string& who) {
  auto accepted = accepted_.lock();
  const auto found = accepted->find(who);
  if (found == accepted->end()) return std::nullopt;
  const auto age = clock_.steady() - found->second.at;
  AgentPass pass = found->second.pass;
  if (age > std::min(settings_.remember, settings_.check_every / 2) || age >= pass.check_after) {
    accepted->erase(found);
    return std::nullopt;
  }
  pass.valid_for -= age;
  pass.check_after -= age;
  return pass;
}

void TokenReviewGate::remember(const std::string& who, const AgentPass& pass) {
  auto accepted = accepted_.lock();
  const SteadyTime now = clock_.steady();
  if (accepted->size() >= kMostRemembered) {
    std::erase_if(*accepted,
                  [&](const auto& item) { return now - item.second.at > settings_.remember; });
    if (accepted->size() >= kMostRemembered) accepted->clear();
  }
  accepted->insert_or_assign(who, Accepted{pass, now});
}

Result<Evidence> TokenReviewGate::evidence_of(const TokenOwner& owner, std::stop_token stop) {
  Evidence evidence{.owner = owner, .pod = {}, .import = {}};
  if (owner.pod_name.empty()) return evidence;
  auto pod = kube::get_if_exists(reader_, kube::types::kPod, {owner.ns, owner.pod_name}, stop);
  if (!pod) return could_not_ask(std::move(pod).error(), "pod of the token");
  evidence.pod = *std::move(pod);
  if (!evidence.pod) return evidence;
  const auto import = import_of(*evidence.pod);
  if (!import) return evidence;
  auto object = kube::get_if_exists(reader_, kube::types::kVirtualMachineImport,
                                    {owner.ns, import->name}, stop);
  if (!object) return could_not_ask(std::move(object).error(), "import of the mover");
  evidence.import = *std::move(object);
  return evidence;
}

}  // namespace vmferry::access
