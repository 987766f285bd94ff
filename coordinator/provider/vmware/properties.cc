#include "coordinator/provider/vmware/properties.h"

#include <algorithm>
#include <iterator>
#include <set>
#include <utility>

#include "common/catalogue.h"

namespace vmferry::vmware {
namespace {

constexpr std::string_view kPageSize = "100";
constexpr std::size_t kMostPages = 100'000;
constexpr std::size_t kMostAncestors = 256;

Node traversal(std::string name, std::string type, std::string path) {
  Node node = concrete("selectSet", "TraversalSpec");
  node.add(leaf("name", std::move(name))).add(leaf("type", std::move(type)));
  node.add(leaf("path", std::move(path))).add(flag("skip", false));
  return node;
}

Node again(std::string name) {
  Node node = structure("selectSet", "SelectionSpec");
  node.add(leaf("name", std::move(name)));
  return node;
}

Node wish_node(const std::vector<PropertyWish>& wishes, const std::vector<ObjectWish>& objects) {
  Node spec = structure("specSet", "PropertyFilterSpec");
  for (const PropertyWish& wish : wishes) {
    Node properties = structure("propSet", "PropertySpec");
    properties.add(leaf("type", wish.type)).add(flag("all", false));
    for (const std::string& path : wish.paths) properties.add(leaf("pathSet", path));
    spec.add(std::move(properties));
  }
  for (const ObjectWish& object : objects) {
    Node from = structure("objectSet", "ObjectSpec");
    from.add(reference("obj", object.start)).add(flag("skip", object.skip_start));
    for (const Node& select : object.select) from.add(select);
    spec.add(std::move(from));
  }
  return spec;
}

// The answer as the server gives it, faults of the first call included.
Result<SoapReply> first_page(Exchange& exchange, const std::vector<PropertyWish>& wishes,
                             const std::vector<ObjectWish>& objects) {
  Node request = method_call("RetrievePropertiesEx", exchange.content().property_collector);
  request.add(wish_node(wishes, objects));
  Node options = structure("options", "RetrieveOptions");
  options.add(leaf("maxObjects", std::string(kPageSize)));
  request.add(std::move(options));
  return exchange.call(request);
}

Result<void> each_page(Exchange& exchange, SoapReply reply, const TakePage& take) {
  std::set<MoRef> seen;
  for (std::size_t page = 0; page < kMostPages; ++page) {
    std::vector<ObjectProperties> found;
    for (ObjectProperties& object : objects_of(reply)) {
      if (seen.insert(object.object).second) found.push_back(std::move(object));
    }
    TRY(take(std::move(found)));
    const std::string token = child_text(reply.returnval(), "token");
    if (token.empty()) return {};
    Node next = method_call("ContinueRetrievePropertiesEx", exchange.content().property_collector);
    next.add(leaf("token", token));
    reply = TRY(exchange.must_call(next));
  }
  return Error(ErrorKind::ResourceExhausted, code::kSourceProtocol,
               "the server's property answer has no end");
}

Result<std::vector<ObjectProperties>> all_pages(Exchange& exchange, SoapReply reply) {
  std::vector<ObjectProperties> found;
  TRY(each_page(exchange, std::move(reply), [&](std::vector<ObjectProperties> page) {
    std::ranges::move(page, std::back_inserter(found));
    return Result<void>();
  }));
  return found;
}

// One page after another of all that `view` holds.
Result<void> visit_view(Exchange& exchange, const MoRef& view,
                        const std::vector<PropertyWish>& wishes, const TakePage& take) {
  SoapReply reply = TRY(
      first_page(exchange, wishes, {{view, true, {traversal("view", "ContainerView", "view")}}}));
  if (reply.fault()) return fault_error(*reply.fault(), "RetrievePropertiesEx", view.value);
  return each_page(exchange, std::move(reply), take);
}

}  // namespace

std::vector<ObjectProperties> objects_of(const SoapReply& reply) {
  std::vector<ObjectProperties> found;
  for (const pugi::xml_node node : children(reply.returnval(), "objects")) {
    ObjectProperties object;
    object.object = moref_of(child(node, "obj"));
    object.storage = reply.storage();
    for (const pugi::xml_node property : children(node, "propSet")) {
      object.values.emplace(child_text(property, "name"), child(property, "val"));
    }
    for (const pugi::xml_node missing : children(node, "missingSet")) {
      object.denied.push_back(child_text(missing, "path"));
    }
    found.push_back(std::move(object));
  }
  return found;
}

pugi::xml_node ObjectProperties::value(std::string_view path) const {
  const auto found = values.find(path);
  return found == values.end() ? pugi::xml_node() : found->second;
}

std::string ObjectProperties::text(std::string_view path) const { return text_of(value(path)); }

Result<std::vector<ObjectProperties>> retrieve(Exchange& exchange,
                                               const std::vector<PropertyWish>& wishes,
                                               const std::vector<ObjectWish>& objects) {
  SoapReply reply = TRY(first_page(exchange, wishes, objects));
  if (reply.fault()) {
    return fault_error(*reply.fault(), "RetrievePropertiesEx",
                       objects.empty() ? "nothing" : objects.front().start.value);
  }
  return all_pages(exchange, std::move(reply));
}

Result<ObjectProperties> retrieve_one(Exchange& exchange, const MoRef& object,
                                      const std::vector<std::string>& paths,
                                      const std::vector<std::string>& newer_paths) {
  std::vector<std::string> wanted = paths;
  wanted.insert(wanted.end(), newer_paths.begin(), newer_paths.end());
  SoapReply reply = TRY(first_page(exchange, {{object.type, wanted}}, {{object, false, {}}}));
  if (reply.fault() && reply.fault()->type == "InvalidProperty" && !newer_paths.empty()) {
    // A real server fails the whole call for one path that it does not know.
    reply = TRY(first_page(exchange, {{object.type, paths}}, {{object, false, {}}}));
  }
  if (reply.fault()) return fault_error(*reply.fault(), "RetrievePropertiesEx", object.value);
  std::vector<ObjectProperties> found = TRY(all_pages(exchange, std::move(reply)));
  const auto it = std::ranges::find(found, object, &ObjectProperties::object);
  if (it == found.end()) {
    return coded_error(ErrorKind::NotFound, code::kVmNotFound, "{} '{}' does not exist",
                       object.type, object.value);
  }
  return std::move(*it);
}

Result<void> visit_all(Exchange& exchange, const std::vector<std::string>& types,
                       const std::vector<PropertyWish>& wishes, const TakePage& take) {
  Node create = method_call("CreateContainerView", exchange.content().view_manager);
  create.add(reference("container", exchange.content().root_folder));
  for (const std::string& type : types) create.add(leaf("type", type));
  create.add(flag("recursive", true));
  const SoapReply made = TRY(exchange.must_call(create));
  const MoRef view = moref_of(made.returnval());

  Result<void> visited = visit_view(exchange, view, wishes, take);
  if (!exchange.session_lost()) {
    // A view that stays behind ends with the session; its loss does not spoil what was read.
    const Result<SoapReply> destroyed = exchange.call(method_call("DestroyView", view));
    if (!destroyed && destroyed.error().kind() == ErrorKind::Canceled) return destroyed.error();
  }
  return visited;
}

Result<std::vector<ObjectProperties>> retrieve_all(Exchange& exchange, const std::string& type,
                                                   const std::vector<std::string>& paths) {
  std::vector<ObjectProperties> found;
  TRY(visit_all(exchange, {type}, {{type, paths}}, [&](std::vector<ObjectProperties> page) {
    std::ranges::move(page, std::back_inserter(found));
    return Result<void>();
  }));
  return found;
}

Result<std::vector<Ancestor>> ancestors(Exchange& exchange, const MoRef& object) {
  // A VM of a vApp has no parent; its vApp and the resource pools above have.
  Node up = traversal("up", "ManagedEntity", "parent");
  up.add(again("up"));
  Node up_vapp = traversal("upVapp", "VirtualMachine", "parentVApp");
  up_vapp.add(again("up"));
  const std::vector<ObjectProperties> found = TRY(retrieve(
      exchange, {{"ManagedEntity", {"name", "parent"}}, {"VirtualMachine", {"parentVApp"}}},
      {{object, false, {std::move(up), std::move(up_vapp)}}}));
  std::vector<Ancestor> line;
  MoRef at = object;
  while (!at.empty() && line.size() < kMostAncestors) {
    const auto it = std::ranges::find(found, at, &ObjectProperties::object);
    if (it == found.end()) break;
    line.push_back({at, it->text("name")});
    const pugi::xml_node parent = it->value("parent");
    at = moref_of(parent ? parent : it->value("parentVApp"));
  }
  return line;
}

}  // namespace vmferry::vmware
