#include "coordinator/cluster/server_keys.h"

#include "common/http_client.h"

namespace vmferry::cluster {
namespace {

using kube::types::kConfigMap;
using kube::types::kSecret;
using nlohmann::json;

std::string text_at(const kube::Object& object, const char* name) {
  const auto data = object.json().find("data");
  if (data == object.json().end() || !data->is_object()) return {};
  const auto value = data->find(name);
  return value != data->end() && value->is_string() ? value->get<std::string>() : "";
}

Result<CurveKeys> keys_of(const kube::Object& secret) {
  const auto text = base64_decode(text_at(secret, "secret-key"));
  auto keys = CurveKeys::from_secret(SecretString(text ? *text : std::string()));
  if (keys) return keys;
  return std::move(keys).error().with_context(fmt::format(
      "Secret '{}', key 'secret-key' (remove the Secret: a new one is made, and agents take it up)",
      secret.key().to_string()));
}

Result<CurveKeys> make_keys(kube::Reader& reader, kube::Writer& writer, const kube::ObjectKey& key,
                            std::stop_token stop) {
  const CurveKeys keys = CurveKeys::generate();
  const auto made =
      writer.create(kSecret,
                    kube::Object(json{{"metadata", {{"name", key.name}, {"namespace", key.ns}}},
                                      {"type", "Opaque"},
                                      {"data",
                                       {{"secret-key", base64_encode(keys.secret_key.reveal())},
                                        {"public-key", base64_encode(keys.public_key)}}}}),
                    {}, stop);
  if (made) return keys;
  if (made.error().kind() != ErrorKind::AlreadyExists) return made.error();
  return keys_of(TRY(reader.get(kSecret, key, stop)));
}

}  // namespace

Result<void> publish_key(kube::Reader& reader, kube::Writer& writer, const std::string& ns,
                         const std::string& public_key, std::stop_token stop) {
  const kube::ObjectKey key{ns, kPublished};
  const json data{{"public-key", public_key}};
  const auto existing = TRY(kube::get_if_exists(reader, kConfigMap, key, stop));
  if (existing && text_at(*existing, "public-key") == public_key) return {};
  if (existing) {
    TRY(writer.patch(kConfigMap, key, {{"data", data}}, {}, stop));
    return {};
  }
  TRY(writer.create(
      kConfigMap,
      kube::Object(json{{"metadata", {{"name", key.name}, {"namespace", key.ns}}}, {"data", data}}),
      {}, stop));
  return {};
}

Result<CurveKeys> ensure_server_keys(kube::Reader& reader, kube::Writer& writer,
                                     const std::string& ns, std::stop_token stop) {
  const kube::ObjectKey key{ns, kKeySecret};
  const auto secret = TRY(kube::get_if_exists(reader, kSecret, key, stop));
  CurveKeys keys = TRY(secret ? keys_of(*secret) : make_keys(reader, writer, key, stop));
  TRY(publish_key(reader, writer, ns, keys.public_key, stop));
  return keys;
}

}  // namespace vmferry::cluster
