#include "coordinator/provider/ovirt/sign_on.h"

#include <nlohmann/json.hpp>

#include "common/catalogue.h"
#include "coordinator/provider/ovirt/client.h"

namespace vmferry::ovirt {
namespace {

constexpr std::size_t kMaxTokenBytes = 16u << 10;
constexpr std::chrono::seconds kLogoutTimeout{5};

std::string text_of(const nlohmann::json& tree, const char* key) {
  const auto found = tree.find(key);
  return found != tree.end() && found->is_string() ? found->get<std::string>() : std::string();
}

// The words of a <fault>; empty when the answer is none.
std::string xml_fault(const HttpResponse& response) {
  const std::string* type = response.header("content-type");
  if (response.status < 400 || type == nullptr || type->find("xml") == std::string::npos) return {};
  const Result<Document> body = Document::parse_xml(response.body);
  if (!body) return {};
  const Element root = body->root();
  const Element fault = root.name() == "fault" ? root : root.child("fault");
  if (!fault) return {};
  const std::string detail = fault.text_or("detail", "");
  return detail.empty() ? fault.text_or("reason", "no reason given") : detail;
}

}  // namespace

Result<SecretString> token_of(const HttpResponse& response, std::string_view username) {
  if (response.status >= 500) {
    return coded_error(ErrorKind::Unavailable, code::kSourceUnreachable,
                       "the engine's sign-on answered status {}", response.status);
  }
  const auto refused = [&](std::string why) {
    if (why.size() > 300) why.resize(300);
    return coded_error(ErrorKind::PermissionDenied, code::kSourceAuth,
                       "the engine refused the login of '{}': {}", username, why);
  };
  if (const std::string fault = xml_fault(response); !fault.empty()) return refused(fault);
  if (response.status == 401 && response.body.empty()) return refused("status 401");
  nlohmann::json tree = nlohmann::json::parse(response.body, nullptr, /*allow_exceptions=*/false);
  if (tree.is_array() && tree.size() == 1) tree = nlohmann::json(tree.front());
  if (!tree.is_object()) {
    return coded_error(ErrorKind::InvalidArgument, code::kSourceProtocol,
                       "the sign-on answered status {} without JSON; is this an oVirt engine",
                       response.status);
  }
  if (tree.contains("error") || tree.contains("error_code")) {
    const std::string why = text_of(tree, "error_description");
    return refused(why.empty() ? text_of(tree, "error") : why);
  }
  // Some releases send the API's own form of a refusal (source-ovirt.md 1.3).
  const nlohmann::json fault = tree.value("fault", tree);
  if (response.status >= 400 && fault.is_object() && fault.contains("reason")) {
    const std::string why = text_of(fault, "detail");
    return refused(why.empty() ? text_of(fault, "reason") : why);
  }
  std::string token = text_of(tree, "access_token");
  // It goes into a header line.
  if (token.empty() || token.size() > kMaxTokenBytes ||
      token.find_first_of("\r\n \t") != std::string::npos) {
    return coded_error(ErrorKind::InvalidArgument, code::kSourceProtocol,
                       "the sign-on answered status {} without a usable token", response.status);
  }
  return SecretString(std::move(token));
}

Result<Client::SessionPtr> Client::session(std::stop_token stop) {
  std::unique_lock lock(mutex_);
  for (;;) {
    if (state_.session) return state_.session;
    if (state_.refused && clock_.steady() - state_.refused_at < options_.refused_for) {
      return *state_.refused;
    }
    if (!state_.logging_in) break;
    if (!changed_.wait(lock, stop, [this] { return !state_.logging_in; })) {
      return make_error(ErrorKind::Canceled, "stopped");
    }
  }
  state_.logging_in = true;
  lock.unlock();
  Result<SessionPtr> fresh = log_in(stop);
  lock.lock();
  state_.logging_in = false;
  if (fresh) {
    state_.session = *fresh;
    state_.refused.reset();
  } else if (fresh.error().code() == code::kSourceAuth) {
    state_.refused = fresh.error();
    state_.refused_at = clock_.steady();
  }
  changed_.notify_all();
  return fresh;
}

Result<Client::SessionPtr> Client::log_in(std::stop_token stop) {
  HttpRequest request;
  request.method = "POST";
  request.url = options_.origin + std::string(kTokenPath);
  request.headers = {{"Content-Type", "application/x-www-form-urlencoded"},
                     {"Accept", "application/json"}};
  request.body =
      "grant_type=password&scope=ovirt-app-api&username=" + url_encode(options_.username) +
      "&password=" + url_encode(options_.password.reveal());
  request.connect_timeout = options_.connect_timeout;
  request.total_timeout = options_.call_timeout;
  request.max_response_bytes = 1u << 20;
  Result<HttpResponse> response = send(request, stop);
  request.body.assign(request.body.size(), '*');
  if (!response) return std::move(response).error();

  auto fresh = std::make_shared<Session>();
  if (response->status == 404) {  // an engine without single sign-on
    fresh->authorization = basic_authorization(options_.username, options_.password);
  } else {
    fresh->token = TRY(token_of(*response, options_.username));
    fresh->authorization = SecretString("Bearer " + fresh->token.reveal());
  }
  return SessionPtr(std::move(fresh));
}

void Client::forget(const SessionPtr& session) {
  const std::lock_guard lock(mutex_);
  if (state_.session == session) state_.session.reset();
}

Error Client::refuse(Error error) {
  const std::lock_guard lock(mutex_);
  state_.refused = error;
  state_.refused_at = clock_.steady();
  return error;
}

void Client::keep_cookie(const SessionPtr& session, const HttpResponse& response) {
  for (const std::string& cookie : response.set_cookies) {
    if (!cookie.starts_with("JSESSIONID=")) continue;
    auto changed = std::make_shared<Session>(*session);
    changed->cookie = SecretString(cookie.substr(0, cookie.find(';')));
    const std::lock_guard lock(mutex_);
    if (state_.session == session) state_.session = std::move(changed);
    return;
  }
}

void Client::logout() {
  SessionPtr old;
  {
    const std::lock_guard lock(mutex_);
    old = std::move(state_.session);
    state_.session.reset();
  }
  if (old) end_session(*old);
}

void Client::end_session(const Session& session) {
  HttpRequest request;
  if (!session.token.empty()) {
    request.method = "POST";
    request.url = options_.origin + std::string(kLogoutPath);
    request.headers = {{"Content-Type", "application/x-www-form-urlencoded"},
                       {"Accept", "application/json"}};
    request.body = "scope=ovirt-app-api&token=" + url_encode(session.token.reveal());
  } else if (!session.cookie.empty()) {
    // A Basic session ends with a request that does not ask for it to persist.
    request = request_for("GET", "");
    request.cookie = session.cookie;
    request.authorization = session.authorization;
  } else {
    return;
  }
  request.connect_timeout = kLogoutTimeout;
  request.total_timeout = kLogoutTimeout;
  const Result<HttpResponse> response = send(request, {});
  if (!response) log_.debug("the session could not be ended; the engine will time it out");
}

}  // namespace vmferry::ovirt
