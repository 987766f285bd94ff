#include <algorithm>

#include "common/http_client.h"
#include "common/http_transfer.h"

namespace vmferry {

struct HttpStream::Impl : HttpTransfer {
  HttpRequest request;
  HttpExchange exchange;
  CurlList headers;
  bool ended = false;

  ~Impl() { curl_multi_remove_handle(multi.get(), easy.get()); }
  // Works until `enough` says so, the answer ends, or the time is over.
  template <typename Enough>
  Result<void> run(std::chrono::milliseconds timeout, std::stop_token stop, const Enough& enough);
};

template <typename Enough>
Result<void> HttpStream::Impl::run(std::chrono::milliseconds timeout, std::stop_token stop,
                                   const Enough& enough) {
  using std::chrono::milliseconds;
  const std::stop_callback wake(stop, [this] { curl_multi_wakeup(multi.get()); });
  const auto until = std::chrono::steady_clock::now() + timeout;
  auto left = timeout;
  while (!ended && !enough()) {
    const int wait = static_cast<int>(std::clamp<long long>(left.count(), 0, 1000));
    if (const std::optional<CURLcode> code = TRY(step(wait, stop))) {
      if (*code != CURLE_OK) return failure(*code, request, exchange);
      ended = true;
    }
    if (left <= milliseconds::zero()) break;  // looked once more after the time was over
    left = std::chrono::ceil<milliseconds>(until - std::chrono::steady_clock::now());
  }
  return {};
}

HttpStream::HttpStream(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
HttpStream::~HttpStream() = default;

const HttpResponse& HttpStream::response() const { return impl_->exchange.response; }

Result<std::unique_ptr<HttpStream>> HttpStream::open(HttpClient::Options options,
                                                     HttpRequest request, std::stop_token stop) {
  auto impl = std::make_unique<Impl>();
  TRY(impl->init(std::move(options)));
  impl->request = std::move(request);
  impl->exchange.max_body = impl->request.max_response_bytes;
  TRY(impl->prepare(impl->request, impl->exchange, impl->headers));
  curl_multi_add_handle(impl->multi.get(), impl->easy.get());
  while (!impl->ended && !impl->exchange.headers_complete) {  // bounded by the request's timeouts
    TRY(impl->run(std::chrono::seconds(10), stop, [&] { return impl->exchange.headers_complete; }));
  }
  return std::unique_ptr<HttpStream>(new HttpStream(std::move(impl)));
}

Result<HttpStream::Piece> HttpStream::read(std::chrono::milliseconds timeout,
                                           std::stop_token stop) {
  std::string& body = impl_->exchange.response.body;
  TRY(impl_->run(timeout, stop, [&] { return !body.empty(); }));
  Piece piece{.bytes = std::move(body), .ended = impl_->ended};
  body.clear();
  return piece;
}

}  // namespace vmferry
