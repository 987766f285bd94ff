#include "coordinator/kube/rest/status_error.h"

#include <algorithm>
#include <cctype>
#include <string>

#include <nlohmann/json.hpp>

#include "common/catalogue.h"

namespace vmferry::kube {
namespace {

using nlohmann::json;

constexpr std::size_t kMaxTextBytes = 4096;

std::string text_at(const json& object, const char* name) {
  const auto found = object.find(name);
  return found != object.end() && found->is_string() ? found->get<std::string>() : "";
}

bool has(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

// A line for people out of what came: no control characters, no breaks, bounded.
std::string one_line(std::string_view text) {
  std::string line(text.substr(0, kMaxTextBytes));
  std::ranges::replace_if(
      line, [](unsigned char c) { return c < ' ' || c == 0x7f; }, ' ');
  const std::size_t end = line.find_last_not_of(' ');
  return line.substr(0, end == std::string::npos ? 0 : end + 1);
}

// The whole kind is not served, rather than one object of it.
bool is_of_no_kind(std::string_view message) {
  return has(message, "the server could not find the requested resource") ||
         message.starts_with("404 page not found");
}

struct Meaning {
  ErrorKind kind = ErrorKind::Internal;
  std::string_view code;
};

Meaning meaning(int status, std::string_view reason, std::string_view message) {
  // A policy's refusal may carry any status, 422 unless it says otherwise.
  const bool by_policy =
      has(message, "ValidatingAdmissionPolicy '") && has(message, " denied request");
  if (by_policy && status < 500) return {ErrorKind::PermissionDenied, code::kWebhook};
  const bool by_webhook = message.starts_with("admission webhook ") && has(message, "denied");
  switch (status) {
    case 401:
      return {ErrorKind::PermissionDenied, code::kClusterCredentials};
    case 403:
      if (has(message, "exceeded quota")) return {ErrorKind::ResourceExhausted, code::kQuota};
      if (by_webhook) return {ErrorKind::PermissionDenied, code::kWebhook};
      if (has(message, "violates PodSecurity")) {
        return {ErrorKind::PermissionDenied, code::kPodSecurity};
      }
      return {ErrorKind::PermissionDenied, code::kForbidden};
    case 404:
      return {ErrorKind::NotFound, is_of_no_kind(message) ? code::kApiMissing : std::string_view()};
    case 405:
    case 406:
    case 415:
      return {ErrorKind::Unimplemented, ""};
    case 409:
      return {reason == "AlreadyExists" ? ErrorKind::AlreadyExists : ErrorKind::Aborted, ""};
    case 410:
      return {ErrorKind::Aborted, ""};
    case 422:
      return {ErrorKind::InvalidArgument, code::kManifest};
    case 429:
      return {ErrorKind::Unavailable, ""};
    case 504:
      return {ErrorKind::DeadlineExceeded, ""};
    default:
      break;
  }
  if (by_webhook) return {ErrorKind::InvalidArgument, code::kWebhook};
  if (status >= 500) {
    // Its own trouble, or a webhook that does not answer: both go by.
    return {ErrorKind::Unavailable,
            has(message, "failed calling webhook") ? code::kWebhook : std::string_view()};
  }
  return {ErrorKind::InvalidArgument, ""};
}

int code_of(const json& status) {
  const auto found = status.find("code");
  return found != status.end() && found->is_number_integer() ? found->get<int>() : 0;
}

}  // namespace

Error error_of_status(const json& status) {
  const int http_status = code_of(status);
  const std::string message = text_at(status, "message");
  const Meaning means = meaning(http_status, text_at(status, "reason"), message);
  return {
      means.kind, means.code,
      message.empty() ? fmt::format("the API server answered {}", http_status) : one_line(message)};
}

Error error_of_status(int http_status, std::string_view body, std::string_view request) {
  json status = json::parse(body, nullptr, false);
  if (status.is_object() && text_at(status, "kind") == "Status" &&
      !text_at(status, "message").empty()) {
    status["code"] = http_status;
    return error_of_status(status);
  }
  const Meaning means = meaning(http_status, "", body);
  return {means.kind, means.code,
          fmt::format("{}: the API server answered {}: {}", request, http_status,
                      one_line(body.substr(0, 200)))};
}

int retry_after_seconds(const json& status) {
  if (!status.is_object()) return 0;
  const auto details = status.find("details");
  if (details == status.end() || !details->is_object()) return 0;
  const auto seconds = details->find("retryAfterSeconds");
  if (seconds == details->end() || !seconds->is_number_integer()) return 0;
  return static_cast<int>(std::clamp<std::int64_t>(seconds->get<std::int64_t>(), 0, 3600));
}

}  // namespace vmferry::kube
