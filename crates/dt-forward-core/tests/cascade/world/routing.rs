//! The routing plan: who sends where, along which links.

use super::*;

impl World {
    /// The sender registers at a handler, if it did not yet, and sends there, too.
    pub(crate) fn send_at(&mut self, node: usize) {
        self.counter += 1;
        let order = Generation {
            lease: 1,
            counter: self.counter,
        };
        let forwarder = &mut self.nodes[node].forwarder;
        let streams = [spec(VIDEO), spec(AUDIO)];
        forwarder
            .register(SENDER, UserId(1), &streams, order, self.now)
            .unwrap();
        forwarder
            .session_up(SENDER, sender(node), self.now)
            .unwrap();
        self.nodes[node].upstream = None;
        self.sending_at.insert(node);
        // It begins there with a group.
        self.key_wanted = true;
        self.carry_out(node);
    }

    /// It leaves all others.
    pub(crate) fn send_only_at(&mut self, node: usize) {
        for other in std::mem::take(&mut self.sending_at) {
            if other != node {
                let now = self.now;
                self.nodes[other].forwarder.session_down(sender(other), now);
                self.carry_out(other);
            }
        }
        self.sending_at.insert(node);
    }

    fn order(&mut self, node: usize, stream: StreamId, links: Links) {
        self.counter += 1;
        let generation = Generation {
            lease: 1,
            counter: self.counter,
        };
        self.later(300, Event::Order(node, stream, Box::new(links), generation));
    }

    fn route_id(&mut self) -> RouteId {
        self.counter += 1;
        RouteId(self.counter as u32)
    }

    fn inlet(stream: StreamId, from: usize, origin: usize, route: RouteId, hops: u8) -> Inlet {
        Inlet {
            handler: handler(from),
            route,
            origin: handler(origin),
            hops,
            spec: spec(stream),
            participant: SENDER,
            user_id: UserId(1),
        }
    }

    fn outlet(to: usize, origin: usize, route: RouteId, hops: u8) -> Outlet {
        Outlet {
            handler: handler(to),
            route,
            origin: handler(origin),
            hops,
        }
    }

    /// From the first one along a tree.
    pub(crate) fn route_tree(&mut self, parents: &[usize]) {
        let size = parents.len() + 1;
        let mut depth = vec![0u8; size];
        for child in 1..size {
            depth[child] = depth[parents[child - 1]] + 1;
        }
        for stream in [VIDEO, AUDIO] {
            let routes: Vec<_> = (0..size).map(|_| self.route_id()).collect();
            for node in 0..size {
                let inlet = (node > 0)
                    .then(|| Self::inlet(stream, parents[node - 1], 0, routes[node], depth[node]));
                let children = (1..size).filter(|child| parents[child - 1] == node);
                let outlets = children
                    .map(|child| Self::outlet(child, 0, routes[child], depth[child]))
                    .collect();
                self.order(node, stream, Links { inlet, outlets });
            }
        }
    }

    /// From one to all others.
    pub(crate) fn route_star(&mut self, center: usize) {
        let others: Vec<_> = (0..self.nodes.len()).filter(|n| *n != center).collect();
        self.star(center, &others);
    }

    fn star(&mut self, center: usize, others: &[usize]) {
        self.star.clear();
        for stream in [VIDEO, AUDIO] {
            let mut outlets = Vec::new();
            for node in others {
                let route = self.route_id();
                outlets.push(Self::outlet(*node, center, route, 1));
                let inlet = Some(Self::inlet(stream, center, center, route, 1));
                let outlets = Vec::new();
                self.order(*node, stream, Links { inlet, outlets });
            }
            let inlet = None;
            self.star.push((stream, outlets.clone()));
            self.order(center, stream, Links { inlet, outlets });
        }
    }

    /// As a controller does it: the new ways beside the old ones, and the old ones
    /// go when all say that the new ones have taken over.
    pub(crate) fn move_to(&mut self, from: usize, to: usize) {
        let others: Vec<_> = (0..self.nodes.len())
            .filter(|n| *n != from && *n != to)
            .collect();
        let before = self.nodes.iter().map(|node| node.arrives).collect();
        self.star(to, &others);
        self.moving = Some((from, to, before));
    }

    /// All have said that it arrives the new way.
    pub(crate) const fn has_moved(&self) -> bool {
        self.moving.is_none()
    }

    pub(super) fn look_after_move(&mut self) {
        let Some((from, to, before)) = &self.moving else {
            return;
        };
        let (from, to) = (*from, *to);
        let arrived = |node: &usize| {
            let (now, before) = (self.nodes[*node].arrives, before[*node]);
            now[0] > before[0] && now[1] > before[1]
        };
        if !(0..self.nodes.len())
            .filter(|n| *n != from)
            .all(|n| arrived(&n))
        {
            return;
        }
        self.moving = None;
        // The last one gets it from there, too; nothing changes for the others.
        for (stream, mut outlets) in self.star.clone() {
            let route = self.route_id();
            outlets.push(Self::outlet(from, to, route, 1));
            let links = Links {
                inlet: Some(Self::inlet(stream, to, to, route, 1)),
                outlets: Vec::new(),
            };
            self.order(from, stream, links);
            let inlet = None;
            self.order(to, stream, Links { inlet, outlets });
        }
    }

    /// The link between two breaks, and comes back.
    pub(crate) fn sever(&mut self, a: usize, b: usize) {
        let key = self.link(a, b).unwrap();
        for node in [a, b] {
            self.nodes[node].links.remove(&key);
            self.nodes[node].early.retain(|(of, _), _| *of != key);
            let now = self.now;
            self.nodes[node].forwarder.session_down(key, now);
            self.carry_out(node);
        }
        self.later(500, Event::LinkUp(a, b));
    }
}
