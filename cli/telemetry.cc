#include "cli/telemetry.h"

#include <nlohmann/json.hpp>

#include "common/catalogue.h"
#include "coordinator/dashboard/views.h"

namespace vmferry::cli {
namespace {

constexpr int kHttpOk = 200;

nlohmann::json parsed(const std::string& text) {
  return nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
}

}  // namespace

Result<Telemetry> Telemetry::connect(const embedded::Home& home) {
  HttpClient::Options options;
  options.unix_socket = home.socket();
  return Telemetry(TRY(HttpClient::make(std::move(options))));
}

Result<std::string> Telemetry::ask(const std::string& method, const std::string& path,
                                   std::stop_token stop) {
  HttpRequest request;
  request.method = method;
  request.url = "http://localhost" + path;
  request.connect_timeout = std::chrono::milliseconds(2000);
  request.total_timeout = std::chrono::milliseconds(10'000);
  auto response = client_->send(request, stop);
  if (!response) {
    if (response.error().kind() == ErrorKind::Canceled) return response.error();
    return Error(ErrorKind::Unavailable, code::kNoAgent,
                 "no coordinator answers in this home (" + response.error().message() + ")");
  }
  if (response->status != kHttpOk) {
    return make_error(ErrorKind::InvalidArgument, "the coordinator answered {}: {}",
                      response->status, response->body);
  }
  return std::move(response->body);
}

Result<std::vector<TransferView>> Telemetry::transfers(std::stop_token stop) {
  const std::string text = TRY(ask("GET", "/v1/transfers", stop));
  return dashboard::transfers_from_json(parsed(text));
}

Result<std::vector<AgentView>> Telemetry::agents(std::stop_token stop) {
  const std::string text = TRY(ask("GET", "/v1/agents", stop));
  return dashboard::agents_from_json(parsed(text));
}

Result<void> Telemetry::set_limit(std::uint64_t bytes_per_second, std::stop_token stop) {
  TRY(ask("PUT", "/v1/limit?bytes_per_second=" + std::to_string(bytes_per_second), stop));
  return {};
}

bool Telemetry::is_running(std::stop_token stop) { return ask("GET", "/healthz", stop).ok(); }

}  // namespace vmferry::cli
