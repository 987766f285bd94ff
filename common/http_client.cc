#include "common/http_client.h"

#include <openssl/pem.h>

#include "common/http_transfer.h"

namespace vmferry {

const std::string* HttpResponse::header(const std::string& lower_case_name) const {
  const auto found = headers.find(lower_case_name);
  return found == headers.end() ? nullptr : &found->second;
}

struct HttpClient::Impl : HttpTransfer {
  std::string peer_thumbprint;

  void note_peer();
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

// Takes the leaf of what the server presented; there is nothing to take when a connection was used
// again.
void HttpClient::Impl::note_peer() {
  curl_certinfo* chain = nullptr;
  if (curl_easy_getinfo(easy.get(), CURLINFO_CERTINFO, &chain) != CURLE_OK || chain == nullptr ||
      chain->num_of_certs < 1) {
    return;
  }
  constexpr std::string_view kName = "Cert:";
  for (const curl_slist* line = chain->certinfo[0]; line != nullptr; line = line->next) {
    const std::string_view text = line->data;
    if (!text.starts_with(kName)) continue;
    const std::string_view pem = text.substr(kName.size());
    const Owned<BIO, BIO_free_all> bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
    if (!bio) return;
    const Owned<X509, X509_free> leaf(PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr));
    peer_thumbprint = CertificatePin::digest_of(leaf.get(), EVP_sha1());
    return;
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
  note_peer();
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

const std::string& HttpClient::peer_thumbprint() const { return impl_->peer_thumbprint; }

}  // namespace vmferry
