#include "coordinator/provider/vmware/soap.h"

#include <algorithm>
#include <charconv>
#include <initializer_list>
#include <utility>

#include "common/catalogue.h"
#include "common/check.h"

namespace vmferry::vmware {
namespace {

// Children in the order of the vim25 schema, those of base types first.
struct Order {
  std::string_view schema;
  std::vector<std::string_view> children;
};

const std::vector<Order>& orders() {
  static const std::vector<Order> table = {
      {"RetrieveServiceContent", {"_this"}},
      {"CurrentTime", {"_this"}},
      {"Login", {"_this", "userName", "password", "locale"}},
      {"Logout", {"_this"}},
      {"RetrievePropertiesEx", {"_this", "specSet", "options"}},
      {"ContinueRetrievePropertiesEx", {"_this", "token"}},
      {"CancelRetrievePropertiesEx", {"_this", "token"}},
      {"PropertyFilterSpec", {"propSet", "objectSet", "reportMissingObjectsInResults"}},
      {"PropertySpec", {"type", "all", "pathSet"}},
      {"ObjectSpec", {"obj", "skip", "selectSet"}},
      {"SelectionSpec", {"name"}},
      {"TraversalSpec", {"name", "type", "path", "skip", "selectSet"}},
      {"RetrieveOptions", {"maxObjects"}},
      {"CreateContainerView", {"_this", "container", "type", "recursive"}},
      {"DestroyView", {"_this"}},
      {"FindByUuid", {"_this", "datacenter", "uuid", "vmSearch", "instanceUuid"}},
      {"FindAllByUuid", {"_this", "datacenter", "uuid", "vmSearch", "instanceUuid"}},
      {"FindByInventoryPath", {"_this", "inventoryPath"}},
      {"QueryEvents", {"_this", "filter"}},
      {"EventFilterSpec", {"entity", "eventTypeId"}},
      {"EventFilterSpecByEntity", {"entity", "recursion"}},
      {"ShutdownGuest", {"_this"}},
      {"PowerOffVM_Task", {"_this"}},
      {"PowerOnVM_Task", {"_this", "host"}},
      {"ExportVm", {"_this"}},
      {"HttpNfcLeaseProgress", {"_this", "percent"}},
      {"HttpNfcLeaseComplete", {"_this"}},
      {"HttpNfcLeaseAbort", {"_this", "fault"}},
  };
  return table;
}

std::size_t rank_of(std::string_view schema, std::string_view name) {
  const auto order = std::ranges::find(orders(), schema, &Order::schema);
  VMFERRY_CHECK(order != orders().end());
  const auto place = std::ranges::find(order->children, name);
  VMFERRY_CHECK(place != order->children.end());
  return static_cast<std::size_t>(place - order->children.begin());
}

void append_escaped(std::string& out, std::string_view text) {
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      default:
        // Other control characters cannot stand in XML 1.0 in any spelling.
        if (static_cast<unsigned char>(c) >= 0x20 || c == '\t' || c == '\n' || c == '\r') out += c;
    }
  }
}

void append_node(std::string& out, const Node& node, std::string_view name_space) {
  out += '<';
  out += node.name;
  if (!name_space.empty()) {
    out += " xmlns=\"";
    out += name_space;
    out += '"';
  }
  if (!node.moref_type.empty()) {
    out += " type=\"";
    append_escaped(out, node.moref_type);
    out += '"';
  }
  if (node.abstract) {
    out += " xsi:type=\"";
    out += node.schema;
    out += '"';
  }
  out += '>';
  if (node.schema.empty()) {
    append_escaped(out, node.text);
  } else {
    std::vector<std::pair<std::size_t, const Node*>> ordered;
    for (const Node& c : node.children) ordered.emplace_back(rank_of(node.schema, c.name), &c);
    std::ranges::stable_sort(ordered, {}, &std::pair<std::size_t, const Node*>::first);
    for (const auto& [rank, c] : ordered) append_node(out, *c, {});
  }
  out += "</";
  out += node.name;
  out += '>';
}

constexpr FaultRule kFaultRules[] = {
    {"NotAuthenticated", FaultClass::Relogin, ErrorKind::PermissionDenied, code::kSourceAuth},
    {"InvalidLogin", FaultClass::Permanent, ErrorKind::PermissionDenied, code::kSourceAuth},
    {"InvalidLocale", FaultClass::Permanent, ErrorKind::InvalidArgument, code::kSourceProtocol},
    {"PasswordExpired", FaultClass::Permanent, ErrorKind::PermissionDenied, code::kSourceAuth},
    {"NoPermission", FaultClass::Permanent, ErrorKind::PermissionDenied, code::kSourceAuth},
    {"RestrictedVersion", FaultClass::Permanent, ErrorKind::Unimplemented, code::kSourceProtocol},
    {"InvalidArgument", FaultClass::Permanent, ErrorKind::InvalidArgument, code::kSourceProtocol},
    {"InvalidRequest", FaultClass::Permanent, ErrorKind::InvalidArgument, code::kSourceProtocol},
    {"InvalidProperty", FaultClass::Permanent, ErrorKind::InvalidArgument, code::kSourceProtocol},
    {"NotSupported", FaultClass::Permanent, ErrorKind::Unimplemented, code::kSourceProtocol},
    {"NotImplemented", FaultClass::Permanent, ErrorKind::Unimplemented, code::kSourceProtocol},
    {"MethodNotFound", FaultClass::Permanent, ErrorKind::Unimplemented, code::kSourceProtocol},
    {"ManagedObjectNotFound", FaultClass::Gone, ErrorKind::NotFound, code::kVmNotFound},
    {"TaskInProgress", FaultClass::Retry, ErrorKind::Unavailable, code::kVmState},
    {"ConcurrentAccess", FaultClass::Retry, ErrorKind::Unavailable, code::kVmState},
    {"ResourceInUse", FaultClass::Retry, ErrorKind::Unavailable, code::kDiskLocked},
    {"FileLocked", FaultClass::Retry, ErrorKind::Unavailable, code::kDiskLocked},
    {"HostNotConnected", FaultClass::Retry, ErrorKind::Unavailable, code::kSourceUnreachable},
    {"HostCommunication", FaultClass::Retry, ErrorKind::Unavailable, code::kSourceUnreachable},
    {"Timedout", FaultClass::Retry, ErrorKind::Unavailable, code::kSourceUnreachable},
    {"RequestCanceled", FaultClass::Retry, ErrorKind::Unavailable, code::kSourceUnreachable},
    {"SystemError", FaultClass::Retry, ErrorKind::Unavailable, code::kSourceUnreachable},
    {"InsufficientResourcesFault", FaultClass::Retry, ErrorKind::Unavailable, code::kSourceRead},
    {"VmConfigFault", FaultClass::Permanent, ErrorKind::InvalidArgument, code::kDiskUnsupported},
    {"InvalidPowerState", FaultClass::State, ErrorKind::Aborted, code::kVmState},
    {"InvalidState", FaultClass::State, ErrorKind::Aborted, code::kVmState},
    {"ToolsUnavailable", FaultClass::Permanent, ErrorKind::InvalidArgument, code::kVmState},
    {"SnapshotFault", FaultClass::Quiesce, ErrorKind::Aborted, code::kVmState},
    {"ApplicationQuiesceFault", FaultClass::Quiesce, ErrorKind::Aborted, code::kVmState},
    {"FilesystemQuiesceFault", FaultClass::Quiesce, ErrorKind::Aborted, code::kVmState},
    {"FileFault", FaultClass::File, ErrorKind::NotFound, code::kDiskMissing},
    {"CannotAccessFile", FaultClass::File, ErrorKind::NotFound, code::kDiskMissing},
    {"FileNotFound", FaultClass::File, ErrorKind::NotFound, code::kDiskMissing},
};

SoapFault read_fault(pugi::xml_node node) {
  SoapFault fault;
  fault.message = child_text(node, "faultstring");
  pugi::xml_node detail;
  for (const pugi::xml_node c : child(node, "detail").children()) {
    if (c.type() == pugi::node_element) {
      detail = c;
      break;
    }
  }
  fault.type = xsi_type(detail);
  if (fault.type.empty() && detail) {
    std::string_view name = local_name(detail.name());
    if (name.ends_with("Fault") && name.size() > 5) name.remove_suffix(5);
    fault.type = name;
  }
  if (fault.type.empty()) fault.type = "unnamed fault";
  fault.existing_state = child_text(detail, "existingState");
  fault.property = child_text(detail, "name");
  return fault;
}

}  // namespace

Node leaf(std::string name, std::string text) {
  Node node;
  node.name = std::move(name);
  node.text = std::move(text);
  return node;
}

Node flag(std::string name, bool value) {
  return leaf(std::move(name), std::string(value ? "true" : "false"));
}

Node reference(std::string name, const MoRef& object) {
  Node node = leaf(std::move(name), object.value);
  node.moref_type = object.type;
  return node;
}

Node structure(std::string name, std::string schema) {
  Node node;
  node.name = std::move(name);
  node.schema = std::move(schema);
  return node;
}

Node concrete(std::string name, std::string schema) {
  Node node = structure(std::move(name), std::move(schema));
  node.abstract = true;
  return node;
}

Node method_call(std::string method, const MoRef& object) {
  Node node = structure(method, method);
  node.add(reference("_this", object));
  return node;
}

std::string write_envelope(const Node& request) {
  std::string out = R"(<?xml version="1.0" encoding="UTF-8"?>)"
                    R"(<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/")"
                    R"( xmlns:xsd="http://www.w3.org/2001/XMLSchema")"
                    R"( xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><soapenv:Body>)";
  append_node(out, request, "urn:vim25");
  out += "</soapenv:Body></soapenv:Envelope>";
  return out;
}

std::string_view local_name(std::string_view qualified) {
  const auto colon = qualified.rfind(':');
  return colon == std::string_view::npos ? qualified : qualified.substr(colon + 1);
}

pugi::xml_node child(pugi::xml_node node, std::string_view name) {
  for (const pugi::xml_node c : node.children()) {
    if (c.type() == pugi::node_element && local_name(c.name()) == name) return c;
  }
  return {};
}

pugi::xml_node descend(pugi::xml_node node, std::initializer_list<std::string_view> path) {
  for (const std::string_view name : path) node = child(node, name);
  return node;
}

std::vector<pugi::xml_node> children(pugi::xml_node node, std::string_view name) {
  std::vector<pugi::xml_node> found;
  for (const pugi::xml_node c : node.children()) {
    if (c.type() == pugi::node_element && local_name(c.name()) == name) found.push_back(c);
  }
  return found;
}

std::string xsi_type(pugi::xml_node node) {
  for (const pugi::xml_attribute attribute : node.attributes()) {
    const std::string_view name = attribute.name();
    if (name.find(':') != std::string_view::npos && local_name(name) == "type") {
      return std::string(local_name(attribute.value()));
    }
  }
  return {};
}

MoRef moref_of(pugi::xml_node node) { return {node.attribute("type").value(), text_of(node)}; }

std::string text_of(pugi::xml_node node) { return node.text().get(); }

std::string child_text(pugi::xml_node node, std::string_view name) {
  return text_of(child(node, name));
}

std::optional<bool> boolean_of(pugi::xml_node node) {
  const std::string text = text_of(node);
  if (text == "true" || text == "1") return true;
  if (text == "false" || text == "0") return false;
  return std::nullopt;
}

std::optional<std::int64_t> integer_of(pugi::xml_node node) {
  const std::string_view text = node.text().get();
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || text.empty()) return std::nullopt;
  return value;
}

FaultRule fault_rule(std::string_view type) {
  for (const FaultRule& rule : kFaultRules) {
    if (rule.type == type) return rule;
  }
  return {type, FaultClass::Permanent, ErrorKind::Internal, code::kSourceProtocol};
}

Error fault_error(const SoapFault& fault, std::string_view method, std::string_view object) {
  const FaultRule rule = fault_rule(fault.type);
  std::string text = fmt::format("{} on {}: {}", method, object, fault.type);
  if (!fault.message.empty()) text += ": " + fault.message;
  return Error(rule.kind, rule.code, std::move(text));
}

struct SoapReply::Storage {
  std::string text;  // the document points into it
  pugi::xml_document document;
};

Result<SoapReply> SoapReply::parse(std::string body) {
  auto storage = std::make_shared<Storage>();
  storage->text = std::move(body);
  const pugi::xml_parse_result parsed = storage->document.load_buffer_inplace(
      storage->text.data(), storage->text.size(), pugi::parse_default | pugi::parse_doctype,
      pugi::encoding_utf8);
  const auto malformed = [](std::string_view why) {
    return coded_error(ErrorKind::InvalidArgument, code::kSourceProtocol,
                       "the answer is not SOAP: {}", why);
  };
  if (!parsed) return malformed(parsed.description());
  for (const pugi::xml_node node : storage->document.children()) {
    if (node.type() == pugi::node_doctype) return malformed("it declares a document type");
  }
  const pugi::xml_node inner = descend(storage->document, {"Envelope", "Body"});
  if (!inner) return malformed("no Envelope with a Body");

  SoapReply reply;
  for (const pugi::xml_node node : inner.children()) {
    if (node.type() != pugi::node_element) continue;
    reply.response_ = node;
    break;
  }
  if (!reply.response_) return malformed("an empty Body");
  if (local_name(reply.response_.name()) == "Fault") reply.fault_ = read_fault(reply.response_);
  reply.storage_ = std::move(storage);
  return reply;
}

}  // namespace vmferry::vmware
