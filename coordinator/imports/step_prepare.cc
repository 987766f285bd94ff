#include <algorithm>
#include <utility>

#include "common/backoff.h"
#include "common/catalogue.h"
#include "common/secret.h"
#include "coordinator/imports/copied.h"
#include "coordinator/imports/disk_moves.h"
#include "coordinator/imports/observe.h"
#include "coordinator/imports/reference_rights.h"
#include "coordinator/imports/steps.h"
#include "coordinator/imports/validation.h"

namespace vmferry::imports {
namespace {

constexpr Backoff kBlockedRetry{
    .first = std::chrono::seconds(5), .factor = 1.2, .cap = std::chrono::seconds(60)};
constexpr int kBlockedSoon = 12;
constexpr std::chrono::seconds kClockRetry{15};
constexpr int kConnectionTries = 3;  // a blip must not end a new import

bool in_progress(const Pass& pass) {
  return pass.import.object.annotation(api::kProgress).has_value();
}

// Before anything was done, a wrong secret or endpoint ends the import (lifecycle.md 5, step 6);
// afterwards it is reported and tried again.
Result<StepResult> refuse(Pass& pass, std::string_view reason, const Error& error) {
  pass.set_condition("Valid", "False", reason, text_with_remedy(error));
  if (in_progress(pass)) {
    TRY(pass.save_status(true));
    return error;
  }
  pass.event(kube::EventSeverity::Warning, "ImportBlocked", text_with_remedy(error));
  return StepResult::failed("ValidationFailed", "", error);
}

// Without these a source cannot, or must not, be asked.
bool prevents_reading(const Finding& finding) {
  return finding.level == FindingLevel::Block &&
         (finding.rule == "request.source" || finding.rule == "request.vm" ||
          finding.rule.starts_with("request.secret") ||
          finding.rule == "request.resource_mapping.namespace");
}

// The reason of Valid=False for one of them (api.md 5.1).
std::string_view reason_of(const Finding& finding) {
  if (finding.rule == "request.vm") return "SourceVMNotFound";
  // For who may not read it, it is as good as not there.
  if (finding.rule == "request.resource_mapping.namespace") return "ResourceMappingNotFound";
  return "UninitializedProvider";
}

bool is_blocked_otherwise(const Pass& pass) {
  const api::Condition* const valid = api::find_condition(pass.import.status.conditions, "Valid");
  return valid != nullptr && valid->status == "False" && valid->reason != "UnreachableProvider";
}

// The source does not answer, or others are asking it. What its agents copy is still shown.
Result<StepResult> wait_for_turn(Pass& pass, const SourceTurns::Wait& wait) {
  if (wait.why.empty()) return StepResult::again(wait.after);
  const std::string source = fmt::format("source '{}'", redacted_url(pass.credentials->api_url));
  if (!in_progress(pass)) {
    // What blocks it is there to be mended meanwhile.
    if (is_blocked_otherwise(pass)) return StepResult::again(wait.after);
    pass.set_condition("Valid", "False", "UnreachableProvider",
                       fmt::format("Waiting for {}: {}", source, wait.why));
  } else if (const auto totals = show_transfers(pass); totals.active > 0) {
    pass.set_processing("CopyingDisks",
                        fmt::format("{}; {}: {}", describe(totals), source, wait.why));
  } else {
    pass.set_processing("Pending", fmt::format("Waiting for {}: {}", source, wait.why));
  }
  TRY(pass.save_status(false));
  return StepResult::again(wait.after);
}

// A clock that is behind sees certificates of the future. It is set right without our import.
bool is_of_clocks(const Error& error) {
  return error.code() == code::kSourceTls &&
         error.message().find("not yet valid") != std::string::npos;
}

}  // namespace

StepResult again_when_blocked(Pass& pass) {
  const std::int64_t generation = pass.import.object.generation();
  if (std::exchange(pass.memory.blocked_generation, generation) != generation) {
    pass.memory.blocked_passes = 0;  // its author works on it
  }
  const int passes = ++pass.memory.blocked_passes;
  if (passes <= kBlockedSoon) return StepResult::again(kBlockedRetry.first);
  return StepResult::again(kBlockedRetry.delay(passes - kBlockedSoon, random_unit()));
}

Result<StepResult> claim_import(Pass& pass) {
  TRY(pass.add_finalizer(api::kCleanupFinalizer));
  if (!in_progress(pass)) TRY(pass.add_finalizer(api::kCancelledFinalizer));
  return StepResult::done();
}

Result<StepResult> check_spec(Pass& pass) {
  if (pass.parts.access != nullptr) {
    pass.rights = TRY(reference_rights(*pass.parts.access, pass.import, pass.stop));
  }
  std::vector<Finding> findings = check_request(pass.import, pass.rights);
  if (findings.empty()) return StepResult::done();
  findings = apply_overrides(std::move(findings),
                             TRY(observe_config(pass.parts.reader, pass.scope(), pass.stop)));
  const auto first = std::ranges::find_if(findings, prevents_reading);
  // validate_import() tells all the rest at once, with what source and cluster show.
  if (first == findings.end()) return StepResult::done();
  pass.report_findings(findings);
  const api::Condition valid = conditions_from(findings, pass.provider_kind()).front();
  pass.set_condition("Valid", "False", reason_of(*first), valid.message);
  pass.event(kube::EventSeverity::Warning, "ImportBlocked",
             blocked_text(pass.key().to_string(), findings));
  TRY(pass.save_status(true));
  return again_when_blocked(pass);
}

Result<StepResult> connect_source(Pass& pass) {
  if (in_progress(pass)) {
    const StepResult plan = TRY(read_plan(pass));
    if (plan.kind != StepResult::Kind::Done || is_copied(pass)) return plan;
  }
  const auto obtained = obtain_provider(pass);
  const bool has_turn = obtained && !*obtained;
  if (!has_turn && pass.memory.plan) {
    // Whatever the source would say, the import has ended with it.
    if (auto failed = failed_transfer(pass)) return *std::move(failed);
  }
  if (obtained && *obtained) return wait_for_turn(pass, **obtained);
  if (!obtained) {
    const Error& error = obtained.error();
    if (error.code() == code::kSecretMissing) return refuse(pass, "SecretNotFound", error);
    if (error.kind() == ErrorKind::InvalidArgument) {  // a secret that says nothing usable
      return refuse(pass, "UninitializedProvider", error);
    }
    // What does not pass by itself, such as a right that the coordinator lacks, ends a new import.
    const bool passes = is_retryable(error.kind()) || error.kind() == ErrorKind::Canceled;
    if (passes || in_progress(pass)) return error;
    pass.event(kube::EventSeverity::Warning, "ImportBlocked", text_with_remedy(error));
    return StepResult::failed("ValidationFailed", "", error);
  }
  if (in_progress(pass)) return StepResult::done();

  auto connected = pass.provider->check_connection(pass.stop);
  if (connected) {
    pass.memory.connection_failures = 0;
    return StepResult::done();
  }
  const Error error = std::move(connected).error();
  if (error.kind() == ErrorKind::Canceled) return error;
  if (is_of_clocks(error)) {
    pass.set_condition("Valid", "False", "UnreachableProvider",
                       text_with_remedy(error) +
                           "; the clocks of this cluster's nodes and of the source must agree: "
                           "once they do, the import goes on by itself");
    pass.event(kube::EventSeverity::Warning, "ImportBlocked", text_with_remedy(error));
    TRY(pass.save_status(true));
    return StepResult::again(kClockRetry);
  }
  if (is_retryable(error.kind()) && ++pass.memory.connection_failures < kConnectionTries) {
    pass.set_condition("Valid", "False", "UnreachableProvider", text_with_remedy(error));
    TRY(pass.save_status(true));
    return StepResult::again(std::chrono::seconds(pass.memory.connection_failures));
  }
  return refuse(pass, "UnreachableProvider", error);
}

}  // namespace vmferry::imports
