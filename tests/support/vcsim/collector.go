package main

import (
	"fmt"
	"strings"
	"sync"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// pagingCollector is the property collector with what the simulator leaves out: pages, and one InvalidProperty for the
// whole call when any path is unknown. The simulator makes one per login, so a token dies with its login.
type pagingCollector struct {
	simulator.PropertyCollector

	mu    sync.Mutex
	count int
	rest  map[string]*rest
}

// rest is what a token still has to deliver.
type rest struct {
	objects []types.ObjectContent
	page    int
}

// pageLimit holds for every collector; the simulator builds them without asking us.
var pageLimit = 100

func usePagingCollector(limit int) {
	if limit > 0 {
		pageLimit = limit
	}
	c := &pagingCollector{}
	c.Self = simulator.Map.Get(serviceInstance).(*simulator.ServiceInstance).Content.PropertyCollector
	simulator.Map.Put(c)
}

var serviceInstance = types.ManagedObjectReference{Type: "ServiceInstance", Value: "ServiceInstance"}

// RetrievePropertiesEx answers with the first page and a token when there is more.
func (c *pagingCollector) RetrievePropertiesEx(ctx *simulator.Context, r *types.RetrievePropertiesEx) soap.HasFault {
	answer, ok := c.PropertyCollector.RetrievePropertiesEx(ctx, r).(*methods.RetrievePropertiesExBody)
	if !ok || answer.Fault_ != nil {
		return answer
	}
	result := answer.Res.Returnval
	deny(result.Objects)
	if name := unknownProperty(result.Objects); name != "" {
		return &methods.RetrievePropertiesExBody{Fault_: simulator.Fault("", &types.InvalidProperty{Name: name})}
	}
	if len(result.Objects) == 0 { // as a real server: no returnval at all
		answer.Res.Returnval = nil
		return answer
	}
	page := pageLimit
	if n := int(r.Options.MaxObjects); n > 0 && n < page {
		page = n
	}
	if len(result.Objects) > page {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.rest == nil {
			c.rest = map[string]*rest{}
		}
		c.count++
		result.Token = fmt.Sprintf("%d", c.count)
		c.rest[result.Token] = &rest{objects: result.Objects[page:], page: page}
		result.Objects = result.Objects[:page]
	}
	return answer
}

// ContinueRetrievePropertiesEx answers with the next page; the token stays the same until the last one.
func (c *pagingCollector) ContinueRetrievePropertiesEx(r *types.ContinueRetrievePropertiesEx) soap.HasFault {
	c.mu.Lock()
	defer c.mu.Unlock()
	left := c.rest[r.Token]
	if left == nil {
		return &methods.ContinueRetrievePropertiesExBody{
			Fault_: simulator.Fault("", &types.InvalidArgument{InvalidProperty: "token"})}
	}
	result := types.RetrieveResult{Objects: left.objects}
	if len(left.objects) > left.page {
		result.Objects, left.objects, result.Token = left.objects[:left.page], left.objects[left.page:], r.Token
	} else {
		delete(c.rest, r.Token)
	}
	return &methods.ContinueRetrievePropertiesExBody{Res: &types.ContinueRetrievePropertiesExResponse{Returnval: result}}
}

// CancelRetrievePropertiesEx forgets a token.
func (c *pagingCollector) CancelRetrievePropertiesEx(r *types.CancelRetrievePropertiesEx) soap.HasFault {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.rest[r.Token] == nil {
		return &methods.CancelRetrievePropertiesExBody{
			Fault_: simulator.Fault("", &types.InvalidArgument{InvalidProperty: "token"})}
	}
	delete(c.rest, r.Token)
	return &methods.CancelRetrievePropertiesExBody{Res: new(types.CancelRetrievePropertiesExResponse)}
}

func unknownProperty(objects []types.ObjectContent) string {
	for _, o := range objects {
		for _, missing := range o.MissingSet {
			if _, ok := missing.Fault.Fault.(*types.InvalidProperty); ok {
				return strings.TrimSpace(missing.Path)
			}
		}
	}
	return ""
}

// denied are the property paths that no account may read (POST /deny).
var denied struct {
	sync.Mutex
	paths map[string]bool
}

func denyProperties(paths []string) {
	denied.Lock()
	defer denied.Unlock()
	denied.paths = map[string]bool{}
	for _, path := range paths {
		denied.paths[path] = true
	}
}

// deny moves what may not be read to the missing properties, as a server does for an account without the right.
func deny(objects []types.ObjectContent) {
	denied.Lock()
	defer denied.Unlock()
	for i := range objects {
		o := &objects[i]
		kept := o.PropSet[:0:0]
		for _, property := range o.PropSet {
			if !denied.paths[property.Name] {
				kept = append(kept, property)
				continue
			}
			o.MissingSet = append(o.MissingSet, types.MissingProperty{Path: property.Name, Fault: types.LocalizedMethodFault{
				Fault: &types.NoPermission{Object: o.Obj, PrivilegeId: "System.View"}}})
		}
		o.PropSet = kept
	}
}
