#include "common/http_client.h"

#include "common/http_transfer.h"

namespace vmferry {

const std::string* HttpResponse::header(const std::string& lower_case_name) const {
  const auto found = headers.find(lower_case_name);
  return found == headers.end() ? nullptr : &found->second;
}

struct HttpClient::Impl : HttpTransfer {
  Result<CURLcode> drive(std::stop_token stop);
  Result<HttpResponse> run(const HttpRequest& request, const HttpSink* sink, std::stop_token stop);
};

HttpClient::HttpClient(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
HttpClient::~HttpClient() = default;

Result<std::unique_ptr<HttpClient>> HttpClient::make(Options options) {
  auto impl = std::make_unique<Impl>();
  TRY(impl->init(std::move(options)));
  return std::unique_ptr<HttpClient>(new HttpClient(std::move(impl)));
}

// Runs the prepared transfer to its end; Canceled as soon as `stop` is requested.
Result<CURLcode> HttpClient::Impl::drive(std::stop_token stop) {
  const std::stop_callback wake(stop, [this] { curl_multi_wakeup(multi.get()); });
  curl_multi_add_handle(multi.get(), easy.get());
  struct Removal {  // on every way out; an unfinished transfer's connection is closed by it
    Impl& impl;
    ~Removal() { curl_multi_remove_handle(impl.multi.get(), impl.easy.get()); }
  } const removal{*this};

  while (true) {
    if (const std::optional<CURLcode> code = TRY(step(1000, stop))) return *code;
  }
}

Result<HttpResponse> HttpClient::Impl::run(const HttpRequest& request, const HttpSink* sink,
                                           std::stop_token stop) {
  HttpExchange exchange;
  exchange.sink = sink;
  exchange.max_body = request.max_response_bytes;
  CurlList headers;
  TRY(prepare(request, exchange, headers));
  const CURLcode code = TRY(drive(stop));
  if (code != CURLE_OK) return failure(code, request, exchange);
  if (!exchange.announce()) return failure(CURLE_WRITE_ERROR, request, exchange);
  return std::move(exchange.response);
}

Result<HttpResponse> HttpClient::send(const HttpRequest& request, std::stop_token stop) {
  return impl_->run(request, nullptr, stop);
}

Result<HttpResponse> HttpClient::stream(const HttpRequest& request, const HttpSink& sink,
                                        std::stop_token stop) {
  return impl_->run(request, &sink, stop);
}

}  // namespace vmferry
